"""The SBOM of the image names the Python packages that are in the image, not those of the machine that built it."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.release.image_sbom import agree
from deploy.release.refused import Refused

PINNED = {"msgspec": "0.20", "redis": "8.0", "Async_Timeout": "5.0"}


def component(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "bom-ref": f"{name}=={version}", "purl": f"pkg:pypi/{name}@{version}"}


def document() -> dict[str, Any]:
    """An SBOM of a wheel that needs two packages, and carries a program that Go built."""
    return {
        "metadata": {"component": component("intercept-sidecar", "0.2.0")},
        "components": [
            component("msgspec", "0.20"), component("redis", "8.0"),
            {"name": "opa", "version": "1", "bom-ref": "opa", "purl": "pkg:golang/opa@1"},
        ],
        "dependencies": [
            {"ref": "intercept-sidecar==0.2.0", "dependsOn": ["msgspec==0.20", "redis==8.0", "opa"]},
            {"ref": "msgspec==0.20"}, {"ref": "redis==8.0", "dependsOn": ["msgspec==0.20"]}, {"ref": "opa"},
        ],
    }  # fmt: skip


INSTALLED = [["intercept_sidecar", "0.2.0"], ["msgspec", "0.20"], ["redis", "8.0"]]


def agreed(installed: list[list[str]]) -> dict[str, Any]:
    found = document()
    agree(found, installed, PINNED)
    return found


def test_what_is_the_same_stays() -> None:
    assert {item["name"] for item in agreed(INSTALLED)["components"]} == {"msgspec", "redis", "opa"}


def test_a_package_that_only_the_python_of_the_image_needs_is_added() -> None:
    found = agreed([*INSTALLED, ["async-timeout", "5.0"]])
    assert {"async-timeout": "5.0"}.items() <= {item["name"]: item["version"] for item in found["components"]}.items()


def test_a_package_that_the_python_of_the_image_does_not_need_is_taken_out_everywhere() -> None:
    found = agreed([item for item in INSTALLED if item[0] != "msgspec"])
    assert "msgspec" not in str(found)
    assert found["dependencies"][0]["dependsOn"] == ["redis==8.0", "opa"]


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ([*INSTALLED[:2], ["redis", "7.9"]], "the image holds redis 7.9, and 8.0 is what was asked for"),
        ([*INSTALLED, ["async-timeout", "4.0"]], "the image holds async-timeout 4.0, and 5.0 is what was asked for"),
        ([*INSTALLED, ["eve", "1"]], "the image holds eve 1, and no version of it is what was asked for"),
        (INSTALLED[1:], "the image does not hold intercept-sidecar"),
    ],
)
def test_what_nobody_asked_for_is_refused(installed: list[list[str]], said: str) -> None:
    with pytest.raises(Refused) as caught:
        agreed(installed)
    assert str(caught.value) == said
