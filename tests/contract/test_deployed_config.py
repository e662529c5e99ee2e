"""A deployment in rendered configs: what it changes, what it leaves, what a stage refuses."""

from __future__ import annotations

import pytest

from organseg.contract import MEDSAM, PRESETS, TINY, ImageFeatures, Platform, Preset
from organseg.contract.concurrency import threads_in_all, threads_of_a_request
from organseg.contract.cores import cores_in
from organseg.contract.deployed_config import choices_in, deployed, require_platform
from organseg.contract.deployment_file import Deployment, StageChoice
from organseg.contract.pbtxt import parse_config, render_configs
from organseg.errors import ContractError

CONFIGS = render_configs(TINY, Platform.PYTHON)
CORES_OF_THE_TABLE = 2
"""The machine that the table's numbers for CPU are for."""


def test_every_knob_is_in_the_config_and_the_other_stages_stay() -> None:
    choice = StageChoice(2, 1, joins_requests=False, queue_delay_microseconds=500, cores=(0, 3))
    texts = deployed(CONFIGS, Deployment({"mask_decoder": choice}))
    message = parse_config(texts["mask_decoder"])
    assert message.instance_group[0].count == 2
    assert message.parameters["threads"].string_value == "1"
    assert list(message.dynamic_batching.preferred_batch_size) == [1]
    assert message.dynamic_batching.max_queue_delay_microseconds == 500
    assert message.parameters["cores"].string_value == "0,3"
    assert choices_in(texts)["mask_decoder"] == choice
    assert {**texts, "mask_decoder": CONFIGS["mask_decoder"]} == CONFIGS


def test_what_is_not_chosen_stays_as_the_table_has_it() -> None:
    texts = deployed(CONFIGS, Deployment({"extractors": StageChoice(queue_delay_microseconds=0)}))
    before, after = choices_in(CONFIGS)["extractors"], choices_in(texts)["extractors"]
    assert after == StageChoice(queue_delay_microseconds=0).over(before)


def test_choosing_what_is_there_changes_no_text() -> None:
    assert deployed(CONFIGS, Deployment(choices_in(CONFIGS))) == CONFIGS


def test_a_stage_may_be_set_free_of_its_cores_again() -> None:
    pinned = deployed(CONFIGS, Deployment({"gate": StageChoice(cores=(1,))}))
    assert pinned != CONFIGS
    assert deployed(pinned, Deployment({"gate": StageChoice(cores=())})) == CONFIGS


@pytest.mark.parametrize("name", ["brain", "organ_seg"])
def test_an_unknown_stage_is_told_which_there_are(name: str) -> None:
    with pytest.raises(ContractError, match=f"among .*image_encoder.*mask_decoder.*{name}"):
        deployed(CONFIGS, Deployment({name: StageChoice(threads=1)}))


@pytest.mark.parametrize("stage", ["llava_med", "image_features", "sessions"])
def test_what_keeps_things_in_its_process_stays_one_instance(stage: str) -> None:
    with pytest.raises(ContractError, match=f"wanted one instance of {stage}, .* got 2"):
        deployed(CONFIGS, Deployment({stage: StageChoice(instances=2)}))


def test_a_language_model_that_keeps_nothing_may_be_replicated() -> None:
    direct = render_configs(TINY, Platform.PYTHON, image_features=ImageFeatures.DIRECT)
    texts = deployed(direct, Deployment({"llava_med": StageChoice(instances=2)}))
    assert choices_in(texts)["llava_med"].instances == 2


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ContractError, match="2 threads on 1"):
        deployed(CONFIGS, Deployment({"mask_decoder": StageChoice(threads=2, cores=(1,))}))


@pytest.mark.parametrize(
    ("platform", "stage", "choice", "told"),
    [
        (Platform.ONNXRUNTIME, "extractors", StageChoice(cores=(0,)), "wanted no cores"),
        (Platform.TENSORRT, "extractors", StageChoice(threads=2), "wanted no threads"),
        (Platform.PYTHON, "llava_med_explain", StageChoice(joins_requests=True), "not to join"),
    ],
)
def test_what_a_stage_cannot_be_given_is_refused(
    platform: Platform, stage: str, choice: StageChoice, told: str
) -> None:
    with pytest.raises(ContractError, match=told):
        deployed(render_configs(TINY, platform), Deployment({stage: choice}))


def test_threads_of_a_native_engine_are_tritons_own_parameter() -> None:
    configs = render_configs(TINY, Platform.ONNXRUNTIME)
    texts = deployed(configs, Deployment({"extractors": StageChoice(threads=3)}))
    message = parse_config(texts["extractors"])
    assert message.parameters["intra_op_thread_count"].string_value == "3"


def test_a_file_of_another_preset_or_platform_is_refused() -> None:
    with pytest.raises(ContractError, match="for the preset tiny, got one for 'medsam'"):
        deployed(CONFIGS, Deployment(preset="medsam"))
    with pytest.raises(ContractError, match="for the platform python, got one for 'tensorrt'"):
        require_platform(Deployment(platform="tensorrt"), "python")


def test_cores_that_are_no_numbers_are_refused() -> None:
    assert cores_in({}) == ()
    assert cores_in({"cores": "0,12"}) == (0, 12)
    with pytest.raises(ContractError, match="got '0,x'"):
        cores_in({"cores": "0,x"})


@pytest.mark.parametrize("image_features", list(ImageFeatures), ids=lambda each: each.value)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_one_request_has_no_more_threads_at_work_than_the_table_has_cores(
    preset: Preset, image_features: ImageFeatures
) -> None:
    """The full-size encoder has both cores, and beside it the other branch takes no time."""
    allowed = 1 if preset.segmenter == MEDSAM.segmenter else 0
    configs = render_configs(preset, Platform.PYTHON, image_features=image_features)
    assert threads_of_a_request(configs) <= CORES_OF_THE_TABLE + allowed


def test_threads_of_both_branches_count_together_and_those_of_one_do_not() -> None:
    def threads(**counts: int) -> int:
        choices = {name: StageChoice(threads=count) for name, count in counts.items()}
        return threads_of_a_request(deployed(CONFIGS, Deployment(choices)))

    assert threads(image_encoder=3, llava_med=4) == 7
    assert threads(image_encoder=3, llava_med=4, extractors=2) == 7
    assert threads(image_encoder=1, llava_med=1, mask_decoder=9) == 9
    assert threads(image_encoder=1, llava_med=1, llava_med_explain=9) == 2


def test_many_users_may_have_every_instance_at_work() -> None:
    more = deployed(CONFIGS, Deployment({"image_encoder": StageChoice(instances=3, threads=2)}))
    assert threads_in_all(more) - threads_in_all(CONFIGS) == 3 * 2 - 1
