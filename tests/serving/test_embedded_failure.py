"""What is read out of a server's log; the lines are Triton 2.51's own."""

from __future__ import annotations

from pathlib import Path

from organseg.serving.embedded.failure import explain_failure, read_tail

NOISE = """\
W1122 02:45:16.2 54 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory: CUDA"
E1122 02:45:16.2 54 server.cc:241] "CudaDriverHelper has not been initialized."
I1122 02:44:31.7 52 server.cc:604] \n+------------------+------+
| Repository Agent | Path |
Error: Failed to initialize NVML
"""
FATAL = "error: creating server: Internal - failed to load all models\n"


def test_a_models_own_words_are_given_without_its_stack() -> None:
    line = (
        "E1122 02:45:16.6 54 model_lifecycle.cc:642] \"failed to load 'gate' version 1: Internal: "
        "ModuleNotFoundError: No module named 'nope'\\n\\nAt:\\n  /r/gate/1/model.py(1): <module>"
        '\\n  <frozen importlib._bootstrap>(241): _call\\n"\n'
    )
    assert explain_failure(NOISE + line + FATAL) == (
        "model 'gate': ModuleNotFoundError: No module named 'nope' (at model.py(1))"
    )


def test_every_failed_model_is_named_once() -> None:
    lines = [
        f"E1 model_lifecycle.cc:642] \"failed to load '{name}' version 1: Internal: no memory\"\n"
        for name in ("gate", "gate", "llava_med")
    ]
    assert explain_failure("".join(lines) + FATAL) == (
        "model 'gate': no memory; model 'llava_med': no memory"
    )


def test_a_config_that_cannot_be_parsed_is_named_with_the_place() -> None:
    log = (
        "[libprotobuf ERROR /tmp/text_format.cc:337] Error parsing text-format "
        'inference.ModelConfig: 1:4: no field named "nme".\n'
        "E1 model_repository_manager.cc:1460] \"Poll failed for model directory 'bad': failed to "
        'read text proto from /r/bad/config.pbtxt"\n'
    )
    reason = explain_failure(NOISE + log + FATAL)
    assert "'bad': failed to read text proto" in reason
    assert '1:4: no field named "nme"' in reason


def test_a_taken_port_is_named() -> None:
    log = (
        'E1122 main.cc:257] "failed to start HTTP service: Unavailable - '
        "Socket '127.0.0.1:18000' already in use \"\n"
    )
    assert explain_failure(NOISE + log) == (
        "failed to start HTTP service: Unavailable - Socket '127.0.0.1:18000' already in use"
    )


def test_without_a_reason_the_last_word_is_given() -> None:
    assert explain_failure(NOISE + FATAL) == (
        "creating server: Internal - failed to load all models"
    )


def test_without_a_word_the_last_telling_lines_are_given() -> None:
    assert explain_failure(NOISE + "Segmentation fault\n") == "Segmentation fault"
    assert explain_failure(NOISE) == "its log says nothing"


def test_a_silent_end_is_told_by_its_status() -> None:
    assert "out of memory" in explain_failure(NOISE, 137)
    assert explain_failure(NOISE, 3) == "its log says nothing, its exit status is 3"


def test_an_ensemble_that_only_follows_its_model_is_not_blamed() -> None:
    log = (
        "E1 model_lifecycle.cc:642] \"failed to load 'gate' version 1: Internal: no memory\"\n"
        "E1 model_repository_manager.cc:703] \"Invalid argument: ensemble 'organ_seg' depends on "
        "'gate' which has no loaded version. Model 'gate' loading failed\"\n"
    )
    assert explain_failure(log + FATAL) == "model 'gate': no memory"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * 1_000_000 + b"\n\0the end")
    assert read_tail(log).endswith("\nthe end")
    assert len(read_tail(log)) < 300_000
    assert read_tail(log, log.stat().st_size - 4) == " end"
    assert read_tail(tmp_path / "missing") == ""
