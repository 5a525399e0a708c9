"""TFLite Metadata: labels, hierarchy and provenance in the file, readable with common tools."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge.errors import ModelFileError
from lmedge.export.verification.comparison import compare_outputs, run_file
from lmedge.export.verification.gate import Limits, gate
from lmedge.flatbuffer import Table
from lmedge.metadata import Card, pack
from lmedge.model_file import HEADS, parse_model, read_model
from lmedge.taxonomy import Taxonomy
from tests import small_run
from tests import tiny_file as tiny

if TYPE_CHECKING:
    from tests.export.conftest import Exported

INFO = {"preprocessing": {"size": 32, "resize": "crop"}}
CARD = Card(
    name="tiny",
    description="four colours",
    version="0.1.0",
    taxonomy=tiny.TAXONOMY,
    size=32,
    info=INFO,
)
# As many categories as landmarks, in reverse order.
EQUAL_CARD = dataclasses.replace(
    CARD, taxonomy=Taxonomy.from_pairs([("z", "a"), ("y", "b"), ("x", "c")])
)


@pytest.fixture(scope="module")
def graph() -> bytes:
    """A converted graph with four landmarks and two categories, without metadata."""
    return tiny.graph()


def edited(data: bytes, edit: Any) -> bytes:
    """Return a model after `edit` changed its tables."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    edit(model)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def swap_names(model: Any) -> None:
    """Name the outputs the wrong way round."""
    first, second = model.signatureDefs[0].outputs
    first.name, second.name = second.name, first.name


def swap_order(model: Any) -> None:
    """Put the outputs in the other order, under their right names."""
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[::-1]


def metadata_of(data: bytes) -> tuple[bytes, Table]:
    """Find the buffer that the entry TFLITE_METADATA names."""
    model = Table.root(data)
    (entry,) = [entry for entry in model.tables(6) if entry.string(0) == "TFLITE_METADATA"]
    content = model.tables(4)[entry.integer(1, 0, "I")].bytes(0)
    return content, Table.root(content)


def head_names(data: bytes) -> list[str]:
    _, metadata = metadata_of(data)
    (subgraph,) = metadata.tables(3)
    return [tensor.string(0) for tensor in subgraph.tables(3)]


class TestZip:
    def test_any_zip_tool_reads_it(self, exported: Exported, tmp_path: Path) -> None:
        with zipfile.ZipFile(exported.path) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == [
                "category_labels.txt",
                "known_labels.txt",
                "landmark_labels.txt",
                "lmedge.json",
                "taught_features.bin",
            ]
        code = [sys.executable, "-m", "zipfile", "-e", str(exported.path), str(tmp_path)]
        subprocess.run(code, check=True)
        labels = (tmp_path / "landmark_labels.txt").read_text("utf-8").splitlines()
        assert labels == sorted(small_run.LANDMARKS)
        assert (tmp_path / "category_labels.txt").read_text("utf-8") == "bridges\ntower\n"
        assert (tmp_path / "known_labels.txt").read_text("utf-8") == "landmark\nsomething else\n"

    def test_what_lmedge_json_says(self, exported: Exported) -> None:
        info = read_model(exported.path).info
        run, outcome = exported.run, exported.outcome
        assert info["schema"] == 1
        assert info["format"] == "int8"
        assert info["hierarchy"] == run.taxonomy.hierarchy()
        assert info["preprocessing"] == {
            "size": 32,
            "resize": "squash",
            "color": "RGB",
            "mean": 114.0,
            "scale": 57.0,
        }
        assert info["temperatures"] == dict(outcome.temperatures)
        assert set(info["metrics"]) == {"val", "test"}
        for comparison in outcome.findings.comparisons:
            stored = info["metrics"][comparison.part]
            for head in HEADS:
                before = comparison.float_scores[head]
                after = comparison.file_scores[head]
                assert stored["float"][head]["macro_f1"] == before.macro_f1
                assert stored["file"][head]["macro_f1"] == after.macro_f1
        provenance = info["provenance"]
        assert provenance["split_sha256"] == run.split.digest()
        assert provenance["seed"] == run.seed
        assert provenance["recipe"] == json.loads(json.dumps(run.recipe.as_dict()))
        assert provenance["trained_with"] == dict(run.versions)
        assert {"tensorflow", "python"} <= set(provenance["exported_with"])
        assert (info["gate"]["tolerance"], info["gate"]["problems"]) == (0.01, [])
        assert len(info["gate"]["changes"]) == 2

    def test_nothing_tells_where_or_when(self, exported: Exported) -> None:
        """No path of the computer that trained, and no time: the bytes would tell them."""
        folder = str(exported.run.folder.parent).encode()
        assert folder not in exported.outcome.file.data
        with zipfile.ZipFile(exported.path) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


class TestModelMetadata:
    """Field by field as metadata_schema.fbs numbers them."""

    def test_identifier_and_texts(self, graph: bytes) -> None:
        content, metadata = metadata_of(pack(graph, CARD))
        assert content[4:8] == b"M001"
        texts = [metadata.string(field) for field in (0, 1, 2, 7)]
        assert texts == ["tiny", "four colours", "0.1.0", "1.3.0"]
        (file,) = metadata.tables(6)
        assert file.string(0) == "lmedge.json"

    def test_the_input_is_an_rgb_image(self, graph: bytes) -> None:
        _, metadata = metadata_of(pack(graph, CARD))
        (subgraph,) = metadata.tables(3)
        (image,) = subgraph.tables(2)
        content = image.table(3)
        assert content is not None
        assert content.integer(0, 0, "b") == 2  # ImageProperties
        properties = content.table(1)
        assert properties is not None
        assert properties.integer(0, 0, "b") == 1  # RGB
        (unit,) = image.tables(4)
        assert unit.integer(0, 0, "b") == 1  # NormalizationOptions
        options = unit.table(1)
        assert options is not None
        assert (options.floats(0), options.floats(1)) == ((114.0,), (57.0,))
        stats = image.table(5)
        assert stats is not None
        assert (stats.floats(0), stats.floats(1)) == ((255.0,) * 3, (0.0,) * 3)

    def test_each_head_has_labels_of_its_own(self, graph: bytes) -> None:
        _, metadata = metadata_of(pack(graph, CARD))
        (subgraph,) = metadata.tables(3)
        for head in subgraph.tables(3):
            (labels,) = head.tables(6)
            assert labels.integer(2, 0, "b") == 2  # TENSOR_AXIS_LABELS
            assert labels.string(0) == f"{head.string(0)}_labels.txt"

    @pytest.mark.parametrize("edit", [lambda model: None, swap_order])
    def test_heads_are_in_the_order_of_the_subgraph(self, graph: bytes, edit: Any) -> None:
        """Clients bind them by position alone."""
        data = pack(edited(graph, edit), CARD)
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        (subgraph,) = model.subgraphs
        counts = [int(subgraph.tensors[index].shape[1]) for index in subgraph.outputs]
        expected = ["landmark" if count == 4 else "category" for count in counts]
        assert head_names(data) == expected

    def test_both_orders_occur(self, graph: bytes) -> None:
        assert (
            head_names(pack(graph, CARD)) == head_names(pack(edited(graph, swap_order), CARD))[::-1]
        )


class TestBytes:
    def test_the_same_input_gives_the_same_bytes(self, graph: bytes) -> None:
        assert pack(graph, CARD) == pack(graph, CARD)
        other = dataclasses.replace(CARD, info={**INFO, "seed": 1})
        assert pack(graph, CARD) != pack(graph, other)

    def test_keys_in_another_order_give_the_same_bytes(self, graph: bytes) -> None:
        info = {"b": 1, "a": 2, **INFO}
        turned = dict(reversed(info.items()))
        cards = [dataclasses.replace(CARD, info=values) for values in (info, turned)]
        assert pack(graph, cards[0]) == pack(graph, cards[1])

    def test_the_graph_is_not_changed(self, graph: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        image = tiny.image("red", 32, 32)[None]
        before, after = (
            Interpreter(model_content=data).get_signature_runner()(image=image)
            for data in (graph, pack(graph, CARD))
        )
        for head in HEADS:
            assert np.array_equal(before[head], after[head])

    def test_names_of_every_kind(self, graph: bytes) -> None:
        pairs = [("Türme", "橋"), ("Türme", 'a "quoted", name'), ("a b", "a b"), ("a b", "é")]
        card = dataclasses.replace(CARD, taxonomy=Taxonomy.from_pairs(pairs))
        model = parse_model(pack(graph, card), Path("x.tflite"))
        assert model.taxonomy == card.taxonomy


class TestRefused:
    def test_a_wrong_label_count(self, graph: bytes) -> None:
        pairs = [("towers", "a"), ("towers", "b"), ("domes", "c")]
        card = dataclasses.replace(CARD, taxonomy=Taxonomy.from_pairs(pairs))
        with pytest.raises(ModelFileError, match=r"landmark output is \(1, 4\) for 3 labels"):
            pack(graph, card)

    def test_heads_of_unequal_size_swapped(self, graph: bytes) -> None:
        with pytest.raises(ModelFileError, match="output is"):
            pack(edited(graph, swap_names), CARD)

    def test_other_heads(self, graph: bytes) -> None:
        def rename(model: Any) -> None:
            model.signatureDefs[0].outputs[0].name = "other"

        with pytest.raises(ModelFileError, match=r"not .*'category', 'landmark'"):
            pack(edited(graph, rename), CARD)

    def test_not_a_number_in_the_card(self, graph: bytes) -> None:
        """JSON has no NaN, and other readers would refuse the file."""
        with pytest.raises(ValueError, match="JSON compliant"):
            pack(graph, dataclasses.replace(CARD, info={**INFO, "f1": float("nan")}))

    def test_equal_heads_swapped_do_not_pass_the_gate(self) -> None:
        """Their shapes tell nothing; the answers of the file do."""
        taxonomy = EQUAL_CARD.taxonomy
        data = equal_heads()
        images = np.stack([tiny.image(name, 32, 32) for name in ("blue", "green", "red")] * 2)
        landmark = np.array([0, 1, 2] * 2)
        truth = {"landmark": landmark, "category": taxonomy.parent_index[landmark]}
        floats = {head: np.eye(3, dtype=np.float32)[truth[head]] * 9 for head in HEADS}
        verdicts = []
        for bytes_ in (data, edited(data, swap_names)):
            file = run_file(parse_model(pack(bytes_, EQUAL_CARD), Path("x.tflite")), images)
            ones = dict.fromkeys(HEADS, 1.0)
            found = compare_outputs("val", floats, ones, file, ones, truth, taxonomy)
            verdicts.append(gate(found, file, Limits()))
        assert verdicts[0].passed
        assert verdicts[1].problems[0] == "the landmark and the category output are swapped"


def equal_heads() -> bytes:
    """Three landmarks told apart by colour, each in a category of its own, in reverse order."""
    import tensorflow as tf

    weights = np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]], np.float32).T * 4

    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.reduce_mean(tf.quantization.fake_quant_with_min_max_args(image, -2, 2.5), (1, 2))
        x = tf.quantization.fake_quant_with_min_max_args(x, -2, 2.5)
        both = {"landmark": weights, "category": weights[:, ::-1].copy()}
        return {head: tf.nn.softmax(tf.matmul(x, kernel)) for head, kernel in both.items()}

    module = tf.Module()
    image = tf.TensorSpec((1, 32, 32, 3), tf.float32, name="image")
    module.graph = tf.function(graph, input_signature=[image])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.graph.get_concrete_function()], module
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    return bytes(converter.convert())


def test_a_zip_reader_finds_the_files_behind_the_model(graph: bytes) -> None:
    data = pack(graph, CARD)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = json.loads(archive.read("lmedge.json"))
    assert info["model_bytes"] == data.index(b"PK\x03\x04")
