"""compose.yaml: the specification's own schema, and what a platform team relies on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker_context import DOCKER, REPO_ROOT, stages_of

from organseg import __version__

COMPOSE = DOCKER / "compose.yaml"
SERVERS = ["cpu", "server"]
SERVICES = ["cpu", "exporter", "server"]
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def _with_defaults(value: Any) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(r"\2", value)
    if isinstance(value, list):
        return [_with_defaults(each) for each in value]
    if isinstance(value, dict):
        return {key: _with_defaults(each) for key, each in value.items()}
    return value


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return _with_defaults(yaml.safe_load(COMPOSE.read_text()))["services"]


def _seconds(text: str) -> int:
    amount, unit = re.fullmatch(r"(\d+)([sm])", text).groups()
    return int(amount) * {"s": 1, "m": 60}[unit]


def _check_schema(path: Path) -> int:
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, capture_output=True).returncode


def test_it_fits_the_compose_specification(tmp_path: Path) -> None:
    assert _check_schema(COMPOSE) == 0
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("read_only: true", "readonly: true"))
    assert _check_schema(wrong) != 0


def test_each_profile_starts_what_its_name_says(services: dict[str, Any]) -> None:
    profiles = {name: service["profiles"] for name, service in services.items()}
    assert profiles == {"cpu": ["cpu"], "exporter": ["gpu", "export"], "server": ["gpu"]}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_cannot_write_or_gain_rights(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "1000:1000"
    (temporary,) = service["tmpfs"]
    assert temporary.startswith("/tmp:size=")
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_asks_no_hub(services: dict[str, Any], name: str) -> None:
    assert services[name]["environment"]["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_has_two_gigabytes_of_shared_memory(services: dict[str, Any], name: str) -> None:
    assert re.fullmatch(r"([2-9]|\d{2,})gb", services[name]["shm_size"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_healthy_when_it_answers(services: dict[str, Any], name: str) -> None:
    check = services[name]["healthcheck"]
    assert check["test"][:3] == ["CMD", "organseg", "health"]
    asked_s = float(check["test"][check["test"].index("--timeout") + 1])
    assert asked_s < _seconds(check["timeout"])
    # Loading a language model takes minutes; meanwhile it is looked at often.
    assert _seconds(check["start_period"]) >= 300


@pytest.mark.parametrize("name", SERVERS)
def test_requests_in_flight_may_finish_before_the_kill(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["stop_signal"] == "SIGTERM"
    drain_s = int(service["environment"]["ORGANSEG_DRAIN_SECONDS"])
    assert _seconds(service["stop_grace_period"]) >= drain_s + 10


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_published_on_loopback_unless_asked_otherwise(
    services: dict[str, Any], name: str
) -> None:
    ports = services[name]["ports"]
    assert [port.rpartition(":")[2] for port in ports] == ["8000", "8001", "8002"]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_server_waits_for_engines_and_reads_what_the_exporter_wrote(
    services: dict[str, Any],
) -> None:
    server, exporter = services["server"], services["exporter"]
    assert server["depends_on"] == {"exporter": {"condition": "service_completed_successfully"}}
    assert exporter["restart"] == "no"
    release = exporter["environment"]["ORGANSEG_RELEASE"]
    assert server["environment"]["ORGANSEG_RELEASE"] == release
    assert release.startswith("/releases/")
    assert "releases:/releases" in exporter["volumes"]
    assert server["volumes"] == ["releases:/releases:ro"]
    devices = [
        service["deploy"]["resources"]["reservations"]["devices"] for service in (server, exporter)
    ]
    assert devices[0] == devices[1]
    assert devices[0][0]["capabilities"] == ["gpu"]


def test_the_exporter_has_no_network(services: dict[str, Any]) -> None:
    assert services["exporter"]["network_mode"] == "none"


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_the_version_of_this_code_and_a_target_that_exists(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["image"].endswith(f":{__version__}")
    build = service["build"]
    arguments, stages = stages_of(DOCKER / build["context"] / build["dockerfile"])
    assert build.get("target", "server") in stages
    for argument, default in build.get("args", {}).items():
        assert arguments[argument] == default


@pytest.mark.parametrize("name", SERVERS)
def test_the_admin_key_comes_from_a_file_which_is_empty_by_default(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["secrets"] == ["admin_key"]
    assert service["environment"]["ORGANSEG_ADMIN_KEY_FILE"] == "/run/secrets/admin_key"
    secret = _with_defaults(yaml.safe_load(COMPOSE.read_text()))["secrets"]["admin_key"]
    assert (DOCKER / secret["file"]).read_text() == ""


def test_every_variable_is_explained_in_the_readme() -> None:
    readme = (DOCKER / "README.md").read_text()
    # `ORGANSEG_PRESET`, `_PLATFORM`: the second is short for ORGANSEG_PLATFORM.
    explained = set(re.findall(r"`(\w+)`", readme.partition("## Variables")[2]))
    explained |= {f"ORGANSEG{name}" for name in explained if name.startswith("_")}
    used = {name for name, _ in _VARIABLE.findall(COMPOSE.read_text())}
    assert len(used) > 5
    assert used <= explained


def test_no_variable_is_without_a_default() -> None:
    text = COMPOSE.read_text()
    assert text.count("$") == len(_VARIABLE.findall(text))


def test_the_readme_names_the_tags_that_the_images_have() -> None:
    readme = (DOCKER / "README.md").read_text()
    arguments, _ = stages_of(REPO_ROOT / "docker" / "server.Dockerfile")
    for tag in arguments.values():
        assert tag in readme
