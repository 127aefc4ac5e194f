"""The pod of an overlay as podman can play it: the containers, files, users and volumes of the manifests.

What podman 4.3 does not know is left out or replaced: sidecar containers become ordinary ones, probes and limits go, a
volume in memory becomes one on disk, references to other variables are written out, and the Secret with the key for
bundles becomes two volumes that one more container fills.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Final

from sidecar import __version__

IMAGE: Final = f"localhost/intercept-sidecar:{__version__}"
SERVER_IMAGE: Final = f"localhost/intercept-sidecar-okx:{__version__}"
UNKNOWN_FIELDS: Final = ("metadata.namespace", "spec.serviceAccountName")

Resource = dict[str, Any]


def playable(built: list[Resource], policy: str, server: str) -> list[Resource]:
    """The resources to play: the pod, with `server` as the program of the app, and its ConfigMaps, with this policy."""
    (deployment,) = [item for item in built if item["kind"] == "Deployment"]
    maps = [copy.deepcopy(item) for item in built if item["kind"] == "ConfigMap"]
    for item in maps:
        if "policy.yaml" in item["data"]:
            item["data"]["policy.yaml"] = policy
    maps.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "server"}, "data": {"server.py": server}}
    )
    template = copy.deepcopy(deployment["spec"]["template"])
    spec = template["spec"]
    started = [_container(item) for item in (*spec["initContainers"], *spec["containers"])]
    (app,) = [item for item in started if item["name"] == "app"]
    app |= {"image": SERVER_IMAGE, "command": ["/opt/server/bin/python", "/srv/server.py"], "args": []}
    app["volumeMounts"].append({"name": "server", "mountPath": "/srv", "readOnly": True})
    spec["volumes"].append({"name": "server", "configMap": {"name": "server"}})
    for volume in spec["volumes"]:
        if "emptyDir" in volume or volume.pop("secret", None):
            volume["emptyDir"] = {}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mcp", **template["metadata"]},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [_keys(started), *(item for item in started if item["name"] == "token")],
            "containers": [item for item in started if item["name"] != "token"],
            "volumes": spec["volumes"],
            "terminationGracePeriodSeconds": spec["terminationGracePeriodSeconds"],
        },
    }  # fmt: skip
    return [*maps, pod]


KEYS: Final = """\
import os
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

os.umask(0o077)
key = ec.generate_private_key(ec.SECP256R1())
private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
Path("/etc/bundle-key/private.pem").write_bytes(private)
public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
Path("/etc/bundle-public-key/public.pem").write_bytes(public)
"""


def _keys(started: list[Resource]) -> Resource:
    """A container that makes the key that bundles are signed with, and writes both halves where the pod reads them."""
    (token,) = [item for item in started if item["name"] == "token"]
    mounts = [mount for item in started for mount in item["volumeMounts"] if "bundle" in mount["name"]]
    return {
        "name": "keys", "image": IMAGE, "command": ["python", "-c", KEYS], "securityContext": token["securityContext"],
        "volumeMounts": [{**mount, "readOnly": False} for mount in mounts],
    }  # fmt: skip


def _container(item: Resource) -> Resource:
    kept = {
        key: value
        for key, value in item.items()
        if not key.endswith("Probe") and key not in ("restartPolicy", "lifecycle", "resources", "ports")
    }
    kept["image"] = IMAGE
    if "env" in kept:
        kept["env"] = _expanded(kept["env"])
    return kept


def _expanded(entries: list[Resource]) -> list[Resource]:
    """Variables as podman can set them: written out, and those that it does not know with values of our own."""
    values: dict[str, str] = {}
    found = []
    for entry in entries:
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if field is not None and field not in UNKNOWN_FIELDS:
            found.append(entry)
            continue
        text = "default" if field is not None else entry["value"]
        values[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], text)
        found.append({"name": entry["name"], "value": values[entry["name"]]})
    return found
