#!/bin/sh
# Makes the secrets that compose.yaml mounts, once: what is there stays. Keep a copy of the folder elsewhere.
#   deploy/compose/secrets.sh [FOLDER]
# The files are readable to all, because each container has a user of its own; the folder is not.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# put NAME TEXT
put() {
    printf '%s\n' "$2" >"$folder/.new"
    chmod 444 "$folder/.new"
    mv "$folder/.new" "$folder/$1"
}

# What belongs together is made together.
if [ ! -e "$folder/PHOTOTWIN_AMQP_URL" ]; then
    password=$(random)
    put rabbitmq.conf "default_user = phototwin
default_pass = $password
vm_memory_high_watermark.absolute = 1200MB
disk_free_limit.absolute = 2GB"
    put PHOTOTWIN_AMQP_URL "amqp://phototwin:$password@rabbitmq:5672/"
fi
if [ ! -e "$folder/PHOTOTWIN_DATABASE_URL" ]; then
    password=$(random)
    put postgres_password "$password"
    put PHOTOTWIN_DATABASE_URL "postgresql+asyncpg://phototwin:$password@postgres/phototwin"
fi
if [ ! -e "$folder/PHOTOTWIN_S3_SECRET_KEY" ]; then
    key=$(random) secret=$(random)
    put s3.json "{\"identities\": [{\"name\": \"phototwin\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"],
 \"credentials\": [{\"accessKey\": \"$key\", \"secretKey\": \"$secret\"}]}]}"
    put PHOTOTWIN_S3_ACCESS_KEY "$key"
    put PHOTOTWIN_S3_SECRET_KEY "$secret"
fi
[ -e "$folder/grafana_password" ] || put grafana_password "$(random)"
