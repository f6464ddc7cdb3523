.DEFAULT_GOAL := help
.PHONY: help setup demo serve test lint long bench ablation chaos test-servers

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with everything in it (quick when nothing changed)
	@scripts/setup.sh

demo: setup ## photograph a made-up object and turn the photos into build/demo/model
	.venv/bin/phototwin simulate build/demo/phone --views 36
	.venv/bin/phototwin run build/demo/phone/capture --out build/demo/model

serve: setup ## the page, the API and all workers in one process: http://127.0.0.1:8080/
	.venv/bin/phototwin serve

test: lint test-servers ## lint, then run every test against real servers
	.venv/bin/python -m pytest -n 2 --dist loadfile

lint: setup ## check style, types and which package may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

long: setup ## import the files we hand out into Blender, and compare its renders with ours
	@scripts/long.sh
	.venv/bin/python -m pytest -m long -s

ablation: setup ## what the parts of method single-view are worth (about two hours)
	.venv/bin/python -m tests.bench.ablation

bench: setup ## measure speed and quality
	.venv/bin/python -m tests.bench

chaos: setup test-servers ## break everything while 1000 jobs run (250 captures of four stages), and check that the promise holds
	.venv/bin/python -m tests.chaos --captures 250 --kills 200 --restarts 20 --cuts 50 --bursts 50 --alarms 5
	.venv/bin/python -m tests.chaos --real --captures 8 --kills 12 --restarts 1 --cuts 2 --bursts 2 --alarms 1

test-servers: ## install RabbitMQ, Ceph's object gateway, Chromium and the glTF validator for the tests
	@scripts/test-servers.sh
