"""The pod of an overlay as podman can play it: the containers, files, users and volumes of the manifests.

What podman 4.3 does not know is left out or replaced: sidecar containers become ordinary ones, probes and limits go, a
volume in memory becomes one on disk, and references to other variables are written out.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Final

IMAGE: Final = "localhost/intercept-sidecar:0.1.0"
SERVER_IMAGE: Final = "localhost/intercept-sidecar-okx:0.1.0"
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
        if "emptyDir" in volume:
            volume["emptyDir"] = {}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mcp", **template["metadata"]},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [item for item in started if item["name"] == "token"],
            "containers": [item for item in started if item["name"] != "token"],
            "volumes": spec["volumes"],
            "terminationGracePeriodSeconds": spec["terminationGracePeriodSeconds"],
        },
    }  # fmt: skip
    return [*maps, pod]


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
