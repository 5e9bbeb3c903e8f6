"""Models of kernels and kernelspecs, as gateways give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from jupyter_relay.redact import Quoter
from jupyter_relay.rest.models import (
    MAX_KERNELS,
    MAX_KERNELSPECS,
    MAX_OUTLINED,
    MAX_QUOTED_BYTES,
    KernelLists,
    KernelModel,
    KernelSpecModel,
    KernelSpecs,
)
from jupyter_relay.wire.json import Json, ModelError, read_date, read_json

SPEC: Json = {"name": "r", "spec": {"display_name": "R"}, "resources": {"logo": "/r.svg"}}


def test_kernel_model_with_all_fields_is_read() -> None:
    model = KernelModel.from_json(
        {
            "id": "k1",
            "name": "python3",
            "last_activity": "2026-05-04T03:02:01.500000Z",
            "execution_state": "busy",
            "connections": 2,
            "reason": "It was evicted.",
        }
    )
    assert model == KernelModel(
        id="k1",
        name="python3",
        last_activity=datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC),
        execution_state="busy",
        connections=2,
        reason="It was evicted.",
    )


@pytest.mark.parametrize(
    "model",
    [
        {"id": "k1"},
        {"id": "k1", "name": None, "connections": None, "execution_state": None},
        {"id": "k1", "name": 7, "connections": "many", "last_activity": 12, "reason": []},
    ],
)
def test_kernel_model_with_only_an_id_is_read(model: Json) -> None:
    assert KernelModel.from_json(model) == KernelModel(id="k1", name="")


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-05-04T03:02:01Z", datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)),
        ("2026-05-04T03:02:01.25Z", datetime(2026, 5, 4, 3, 2, 1, 250_000, tzinfo=UTC)),
        ("2026-05-04T03:02:01", datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)),
        (
            "2026-05-04T05:02:01+02:00",
            datetime(2026, 5, 4, 5, 2, 1, tzinfo=timezone(timedelta(hours=2))),
        ),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1777863721, None),
    ],
)
def test_dates(text: Json, date: datetime | None) -> None:
    read = read_date(text)
    assert read == date
    assert read is None or read.tzinfo is UTC


def test_kernel_list_with_one_bad_model_keeps_the_others() -> None:
    listed: Json = [{"id": "k1"}, None, "k2", {"name": "no id"}, {"id": ""}, {"id": "k3"}]
    assert [model.id for model in KernelLists().read(json.dumps(listed).encode())] == ["k1", "k3"]


def test_kernel_model_that_is_unchanged_is_the_same_object() -> None:
    lists = KernelLists()
    one, other = lists.read(b'[{"id": "k1", "connections": 1}, {"id": "k2", "connections": 1}]')
    same, changed = lists.read(b'[{"id": "k1", "connections": 1}, {"id": "k2", "connections": 2}]')
    assert same is one
    assert (other.connections, changed.connections) == (1, 2)


def test_kernel_list_that_is_unreadable_spoils_no_other() -> None:
    lists = KernelLists()
    (one,) = lists.read(b'[{"id": "k1"}]')
    with pytest.raises(ModelError, match="is not JSON"):
        lists.read(b'[{"id": "k1"}')
    assert lists.read(b'[{"id": "k1"}]')[0] is one
    assert lists.read(b"[]") == ()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), ({}, "an object"), ("text", "a text"), (7, "a number")],
)
def test_kernel_list_of_another_form_is_refused(value: Json, kind: str) -> None:
    with pytest.raises(ModelError, match=f"but it is {kind}$"):
        KernelLists().read(json.dumps(value).encode())


@pytest.mark.parametrize("value", [None, [], "k1", 7, {}, {"id": 7}, {"id": None}, {"id": "a\nb"}])
def test_kernel_model_of_another_form_is_refused(value: Json) -> None:
    with pytest.raises(ModelError, match="a kernel model was expected, but"):
        KernelModel.from_json(value)


def read_specs(value: Json) -> KernelSpecs:
    return KernelSpecs.from_json(json.dumps(value).encode())


def test_kernelspecs_in_full() -> None:
    specs = read_specs({"default": "r", "kernelspecs": {"r": SPEC}})
    assert specs.default == "r"
    assert specs.specs == {
        "r": KernelSpecModel(name="r", spec={"display_name": "R"}, resources={"logo": "/r.svg"})
    }


def test_kernelspec_list_with_one_bad_kernelspec_keeps_the_others() -> None:
    specs = read_specs({"kernelspecs": {"r": SPEC, "bad": None, "worse": {"spec": []}}})
    assert set(specs.specs) == {"r"}
    assert specs.default is None


def test_kernelspec_without_a_name_goes_by_the_name_it_is_listed_under() -> None:
    assert KernelSpecModel.from_json({"spec": {}, "resources": [1]}, "r").name == "r"


@pytest.mark.parametrize("value", [None, [], {}, {"kernelspecs": []}, {"kernelspecs": None}])
def test_kernelspec_list_of_another_form_is_refused(value: Json) -> None:
    with pytest.raises(ModelError, match="a list of kernelspecs was expected"):
        read_specs(value)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"<html>", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_body_that_is_no_json_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        read_json(body)


def test_body_that_is_json_is_read() -> None:
    assert read_json(b' {"a": [1, null]} ') == {"a": [1, None]}


NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
SOON = NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("said", "at", "told", "then", "is_now", "since"),
    [
        ("busy", NOON, "idle", SOON, "idle", SOON),
        ("idle", SOON, "busy", NOON, "idle", SOON),
        ("idle", NOON, "busy", NOON, "idle", NOON),
        ("starting", None, "busy", NOON, "busy", NOON),
        ("dead", NOON, "idle", SOON, "dead", NOON),
    ],
)
def test_last_activity_is_the_later_of_the_gateways_and_the_kernels(
    said: str, at: datetime | None, told: str, then: datetime,
    is_now: str, since: datetime | None,
) -> None:  # fmt: skip
    model = KernelModel("k1", "python3", last_activity=at, execution_state=said, connections=3)
    now = model.updated(told, then)
    assert (now.execution_state, now.last_activity) == (is_now, since)
    assert (now.id, now.name, now.connections) == ("k1", "python3", 3)


def kernels(number: int) -> bytes:
    return b"[" + b",".join(b'{"id": "k%d"}' % number for number in range(number)) + b"]"


def specs(number: int) -> bytes:
    listed = b",".join(b'"s%d": {"spec": {}}' % number for number in range(number))
    return b'{"kernelspecs": {' + listed + b"}}"


def test_kernel_list_at_its_bound_is_read() -> None:
    assert len(KernelLists().read(kernels(MAX_KERNELS))) == MAX_KERNELS


def test_kernel_list_above_its_bound_is_refused() -> None:
    with pytest.raises(ModelError, match=r"but it has 50,001, and 50,000 are the most$"):
        KernelLists().read(kernels(MAX_KERNELS + 1))


NESTED = {"x": [{"y": "},{"}, {"id": "z"}], "text": "}, {" * 30}
ENDS_IN_A_TEXT = {"x": ("}, {" + " " * 60) * 14_000}


@pytest.mark.parametrize("more", [{}, NESTED, ENDS_IN_A_TEXT, {"x": " " * 900_000}])
@pytest.mark.parametrize("separators", [(",", ":"), (" \n , ", ": "), ("," + " " * 100, ":")])
def test_kernel_list_that_is_long_is_split_where_its_models_end(
    more: Mapping[str, object], separators: tuple[str, str]
) -> None:
    pad = "x" * 300
    number = 8 if len(json.dumps(more)) > 100_000 else 10_000
    models = [{"id": f"k{n}", "reason": pad, **more} for n in range(number)]
    body = json.dumps(models, separators=separators).encode()
    assert len(body) > 3 * 1024 * 1024
    assert [model.id for model in KernelLists().read(body)] == [model["id"] for model in models]


@pytest.mark.parametrize("end", ["", "}", "]]", ',{"id": "k'])
def test_kernel_list_that_is_long_and_ends_wrongly_is_refused(end: str) -> None:
    models = json.dumps([{"id": f"k{n}", "reason": "x" * 300} for n in range(12_000)])
    with pytest.raises(ModelError, match=r"a list of kernels was expected, but the answer is not"):
        KernelLists().read((models[:-1] + end).encode())


def test_kernelspec_list_at_its_bound_is_read() -> None:
    assert len(KernelSpecs.from_json(specs(MAX_KERNELSPECS)).specs) == MAX_KERNELSPECS


def test_kernelspec_list_above_its_bound_is_refused() -> None:
    with pytest.raises(ModelError, match=r"but it has 2,001, and 2,000 are the most$"):
        KernelSpecs.from_json(specs(MAX_KERNELSPECS + 1))


def test_list_in_which_too_much_is_quoted_is_refused() -> None:
    quoted = "%41" * (MAX_QUOTED_BYTES // 300)
    models = [{"id": f"k{n}", "spec": {"x": quoted}} for n in range(101)]
    quoter = Quoter(["t0ken/secret"])
    listed = json.dumps({"kernelspecs": {m["id"]: m for m in models}})
    with pytest.raises(ModelError, match=r"more than 4,194,304 bytes in which something is quoted"):
        KernelSpecs.from_json(listed.encode(), quoter)
    with pytest.raises(ModelError, match=r"more than 4,194,304 bytes in which something is quoted"):
        KernelLists().read(json.dumps(models).encode(), quoter)


def test_kernelspec_that_is_long_and_has_a_secret_is_left_out_and_spoils_no_other() -> None:
    specs = {
        name: {"spec": {"display_name": name, "x": " " * 20_000 + quote("t0ken/secret" * times)}}
        for name, times in (("told", 1), ("untold", 0))
    }
    body = json.dumps({"kernelspecs": specs}).encode()
    found = KernelSpecs.from_json(body, Quoter(["t0ken/secret"])).specs
    assert list(found) == ["untold"]


@pytest.mark.parametrize("read", [KernelLists().read, KernelSpecs.from_json, read_json])
def test_answer_of_a_million_values_is_refused_before_it_is_parsed(
    read: Callable[[bytes], object],
) -> None:
    with pytest.raises(ModelError, match=r"but it has more than 500,000 values$"):
        read(b"[" + b"1," * 1_000_000)


def test_kernel_list_with_too_long_a_model_keeps_the_others() -> None:
    long = "x" * (1024 * 1024)
    listed = [{"id": "k1", "name": long}, {"id": "k2"}]
    assert [model.id for model in KernelLists().read(json.dumps(listed).encode())] == ["k2"]
    found = read_specs({"kernelspecs": {"a": {"spec": {"x": long}}, "b": {"spec": {}}}})
    assert set(found.specs) == {"b"}


def test_model_that_is_too_long_is_left_out_before_it_is_searched_for_secrets() -> None:
    quoter, long = Quoter(["t0ken/secret"]), "%41" * MAX_QUOTED_BYTES
    listed = [{"id": "k1", "name": long}, {"id": "k2"}]
    assert [model.id for model in KernelLists().read(json.dumps(listed).encode(), quoter)] == ["k2"]
    specs = {"a": {"spec": {"x": long}}, "b": {"spec": {}}}
    found = KernelSpecs.from_json(json.dumps({"kernelspecs": specs}).encode(), quoter)
    assert set(found.specs) == {"b"}


def test_kernel_reason_is_on_one_line_short_and_without_secrets() -> None:
    words = "\x1b[31mred\nt0ken/secret" + "x" * 1_000_000
    model = KernelModel.from_json(
        {"id": "k1", "name": words, "execution_state": words, "reason": words},
        Quoter(["t0ken/secret"]),
    )
    for told in (model.name, model.execution_state, model.reason):
        assert told == Quoter(["t0ken/secret"]).quote(words)
        assert told.isprintable()
        assert len(told) < 310


@pytest.mark.parametrize("state", ["busy", "unknown", "", "a new word"])
def test_kernel_may_be_at_work_unless_its_state_is_one_of_rest(state: str) -> None:
    assert KernelModel(id="k", name="", execution_state=state).may_be_at_work


@pytest.mark.parametrize("state", ["starting", "idle", "restarting", "dead"])
def test_kernel_in_a_state_of_rest_is_not_at_work(state: str) -> None:
    assert not KernelModel(id="k", name="", execution_state=state).may_be_at_work


def test_kernel_model_with_a_secret_in_its_id_is_refused() -> None:
    with pytest.raises(ModelError, match="its id cannot be one"):
        KernelModel.from_json({"id": "a-t0ken-secret"}, Quoter(["t0ken-secret"]))


def test_kernelspec_with_a_secret_anywhere_has_it_cut_out() -> None:
    spec: Json = {
        "display_name": "R t0ken%2Fsecret\u202e" + "x" * 400,
        "argv": ["r", "--token=t0ken/secret"],
        "env": {"A": "t0ken/secret", "t0ken/secret": "b", "C": "two\nlines"},
    }
    resources: Json = {"logo": "/kernelspecs/r/t0ken%2fsecret.png", "other": "/kernelspecs/r/o"}
    model = KernelSpecModel.from_json(
        {"name": "r", "spec": spec, "resources": resources}, "r", Quoter(["t0ken/secret"])
    )
    assert model.spec["argv"] == ["r", "--token=[secret]"]
    assert model.spec["env"] == {"A": "[secret]", "C": "two\nlines"}
    told = model.spec["display_name"]
    assert isinstance(told, str)
    assert told.startswith("R [secret] x")
    assert len(told) < 310
    assert model.resources == {"other": "/kernelspecs/r/o"}


def test_outline_is_a_list_with_names_display_names_and_languages_alone() -> None:
    specs = {"r": SPEC, "bare": {"spec": {"argv": ["r"], "env": {"A": "b"}, "language": "R"}}}
    listed = KernelSpecs.from_json(json.dumps({"default": "r", "kernelspecs": specs}).encode())
    assert json.loads(listed.outline()) == {
        "default": "r",
        "kernelspecs": {"r": {"spec": {"display_name": "R"}}, "bare": {"spec": {"language": "R"}}},
    }
    assert KernelSpecs.from_json(listed.outline()).outline() == listed.outline()


def test_outline_of_many_kernelspecs_has_a_bound() -> None:
    many = {f"r{number}": SPEC for number in range(MAX_OUTLINED + 1)}
    listed = KernelSpecs.from_json(json.dumps({"kernelspecs": many}).encode())
    assert len(KernelSpecs.from_json(listed.outline()).specs) == MAX_OUTLINED


def test_kernelspec_with_a_secret_in_its_name_is_left_out() -> None:
    specs: dict[str, Json] = {
        name: {"spec": {"argv": [name]}} for name in ("t0ken", "r", "a-t0ken-b")
    }
    body = json.dumps({"default": "r", "kernelspecs": specs}).encode()
    assert KernelSpecs.from_json(body, Quoter(["t0ken-"])).specs.keys() == {"t0ken", "r"}


def test_kernelspec_list_with_too_long_a_default_is_unreadable() -> None:
    body = json.dumps({"default": "r" * 2**20, "kernelspecs": {}}).encode()
    with pytest.raises(ModelError, match="more than 1,048,576 bytes"):
        KernelSpecs.from_json(body)


def test_text_with_a_secret_has_it_cut_out_and_nothing_else_changed() -> None:
    spec: Json = {
        "argv": ["ipython", "--token=t0ken-1"],
        "env": {"N": 7, "t0ken-1": "x"},
        "x": None,
    }
    read = KernelSpecModel.from_json({"spec": spec}, "r", Quoter(["t0ken-1"]))
    assert read.spec == {"argv": ["ipython", "--token=[secret]"], "env": {"N": 7}, "x": None}


def test_kernelspec_with_a_secret_and_too_many_levels_is_unreadable() -> None:
    levels: Json = "t0ken-1"
    for _ in range(600):
        levels = [levels]
    with pytest.raises(ModelError, match="too many levels"):
        KernelSpecModel.from_json({"spec": {"x": levels}}, "r", Quoter(["t0ken-1"]))
