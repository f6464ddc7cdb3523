"""Who may do what in the object store: a policy for each role, in the language of IAM that Amazon's S3, Ceph
and MinIO share. It belongs on a user of the role's own.

Folders are those of `contracts.dataset`, of all captures: which one is in hand an event says, and no policy
knows. What may be got may be listed, capture by capture: whoever may not list is told `denied` of what is
absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

GET, PUT, DELETE = ("s3:GetObject",), ("s3:PutObject", "s3:AbortMultipartUpload"), ("s3:DeleteObject",)
PARTS, UPLOADS = ("s3:ListMultipartUploadParts",), ("s3:ListBucketMultipartUploads",)
UPLOAD, EVERYTHING = "upload/*", "*"


@dataclass(frozen=True)
class Access:
    """What of every capture's folder it may do what with; `surveys`: whether it may list all captures."""

    gets: tuple[str, ...] = ()
    puts: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    surveys: bool = False
    networks: bool = False
    """Whether it also gets the weights of networks, where those are in the store."""
    resumes: bool = False
    """Whether it also sees what is being put in parts, and which of these have arrived."""


_WORKER = Access(
    gets=("checkpoints/*", "outcomes/*"),
    puts=("checkpoints/*", "outcomes/*", "running/*"),
    deletes=("checkpoints/*", "running/*"),
)


def _worker(gets: tuple[str, ...], puts: tuple[str, ...], *, networks: bool = False) -> Access:
    return replace(_WORKER, gets=gets + _WORKER.gets, puts=puts + _WORKER.puts, networks=networks)


ACCESS: Mapping[str, Access] = {
    # Each gets also what it puts: its job may be done already.
    "prepare": _worker((UPLOAD, "dataset/*"), ("dataset/*",), networks=True),
    "segment": _worker((UPLOAD, "dataset/*", "masks/*"), ("masks/*",), networks=True),
    "reconstruct": _worker(("dataset/*", "masks/*", "mesh/*"), ("mesh/*", "previews/*"), networks=True),
    "package": _worker(("dataset/*", "masks/*", "mesh/*", "model/*"), ("model/*",)),
    "publisher": Access(gets=("dataset/*", "masks/*", "model/*", "previews/*", "outcomes/*"), puts=(UPLOAD,)),
    # Its links may do what it may. It deletes captures whole, and lists them where its database is lost.
    "gateway": Access(
        gets=(EVERYTHING,),
        puts=(UPLOAD, "capture.json", "announced/*", "outcomes/*"),
        deletes=(EVERYTHING,),
        surveys=True,
        resumes=True,
    ),
    # It lists captures to warn of an id that nobody has.
    "operator": Access(gets=("outcomes/*",), puts=("outcomes/*",), surveys=True),
    "sweeper": Access(
        deletes=(UPLOAD, "dataset/*", "masks/*", "mesh/*", "checkpoints/*", "previews/*"), surveys=True
    ),
}
"""Role -> what it may."""


def policy(role: str, bucket: str, weights: str | None = None) -> dict[str, Any]:
    """Of one of `ACCESS`. weights: the prefix of networks' weights, where they are in the store."""
    access = ACCESS[role]
    gets = _keys(access.gets)
    if access.networks and weights:
        gets.append(f"{weights.strip('/')}/*")
    everything = f"arn:aws:s3:::{bucket}"
    statements = [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [everything],
            "Condition": {"StringLike": {"s3:prefix": ["captures/*"] if access.surveys else gets}},
        }
    ]

    def state(effect: str, actions: tuple[str, ...], keys: list[str]) -> None:
        if keys:
            resources = [f"{everything}/{key}" for key in keys]
            statements.append({"Effect": effect, "Action": list(actions), "Resource": resources})

    state("Allow", GET, gets)
    state("Allow", PUT + PARTS if access.resumes else PUT, _keys(access.puts))
    if access.resumes:
        statements.append({"Effect": "Allow", "Action": list(UPLOADS), "Resource": [everything]})
    state("Allow", DELETE, _keys(access.deletes))
    # On Amazon's S3 a star spans slashes, and a phone may send a folder that is named like one of ours.
    for actions, folders in ((GET, access.gets), (PUT, access.puts), (DELETE, access.deletes)):
        if not {UPLOAD, EVERYTHING} & set(folders):
            state("Deny", actions, _keys((UPLOAD,)))
    return {"Version": "2012-10-17", "Statement": statements}


def _keys(folders: tuple[str, ...]) -> list[str]:
    return [f"captures/*/*/{folder}" for folder in folders]
