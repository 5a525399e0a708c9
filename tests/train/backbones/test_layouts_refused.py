"""EfficientNetB0 files that are damaged, of another network or dangerous: one line, no change."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy

from lmedge.errors import WeightsError
from lmedge.train.backbones import check_pretrained
from lmedge.train.backend import keras
from tests.in_process import lmedge
from tests.processes import assert_refused
from tests.train.backbones import layouts
from tests.train.backbones.layouts import EVEN, IMAGENET, ODD, refused


class TestDamagedHdf5:
    """Both layouts of Keras: (folder or file, a conv's dataset, a norm's variance, message)."""

    @pytest.fixture(params=["named", "numbered"])
    def change(self, request: Any, stock: Any, models: Any, tmp_path: Path) -> Callable[..., None]:
        if request.param == "named":
            path, suffix = layouts.write_named(tmp_path / "b0.h5", stock), "@imagenet"
            group, kernel = "block3a_dwconv/block3a_dwconv", "depthwise_kernel:0"
            norm, variance, extra = "stem_bn/stem_bn", "moving_variance:0", "block1b_dwconv"
        else:
            path, suffix = layouts.write_hub(tmp_path / "b0", stock) / "model.weights.h5", ""
            group, kernel = "layers/depthwise_conv2d_3/vars", "0"
            norm, variance, extra = "layers/batch_normalization/vars", "3", "layers/conv2d_99"

        def apply(act: Callable[[h5py.Group, str], None], told: str, where: str = "kernel") -> None:
            with h5py.File(path, "r+") as file:
                if where == "kernel":
                    act(file[group], kernel)
                elif where == "variance":
                    act(file[norm], variance)
                else:
                    act(file, extra)
            refused(models[ODD], f"{path}{suffix}", f"does not hold efficientnetb0.*{told}")

        return apply

    def test_a_missing_tensor(self, change: Any) -> None:
        change(lambda group, name: group.__delitem__(name), "is missing")

    def test_another_shape(self, change: Any) -> None:
        def act(group: h5py.Group, name: str) -> None:
            del group[name]
            group[name] = np.zeros((5, 5, 7, 1), np.float32)

        change(act, r"is float32 \(5, 5, 7, 1\), expected are floats of \(5, 5, 144, 1\)")

    def test_whole_numbers(self, change: Any) -> None:
        def act(group: h5py.Group, name: str) -> None:
            del group[name]
            group[name] = np.zeros((5, 5, 144, 1), np.int32)

        change(act, "is int32")

    def test_numbers_that_are_none(self, change: Any) -> None:
        def act(group: h5py.Group, name: str) -> None:
            group[name][0, 0, 3] = np.nan

        change(act, "not finite")

    def test_a_negative_variance(self, change: Any) -> None:
        def act(group: h5py.Group, name: str) -> None:
            group[name][5] = -0.5

        change(act, "stem_bn has a negative variance", "variance")

    def test_a_larger_network(self, change: Any) -> None:
        def act(file: h5py.File, name: str) -> None:
            leaf = "0" if name.startswith("layers") else "kernel:0"
            group = file.create_group(f"{name}/vars" if leaf == "0" else name)
            group[leaf] = np.zeros((3, 3, 16, 1), np.float32)
            if leaf != "0":
                group.attrs["weight_names"] = [leaf]
                file.attrs["layer_names"] = [name, *map(str, file.attrs["layer_names"])]

        change(act, "it also holds .*, which the network does not have", "file")

    @pytest.mark.parametrize("kind", ["soft", "external"])
    def test_a_link(self, change: Any, tmp_path: Path, kind: str) -> None:
        def act(group: h5py.Group, name: str) -> None:
            os.mkfifo(tmp_path / "pipe")  # whoever opens it waits without end
            del group[name]
            link = h5py.SoftLink("/x") if kind == "soft" else h5py.ExternalLink("pipe", "/x")
            group[name] = link

        change(act, "is a link, which is not followed")

    def test_storage_outside_of_the_file(self, change: Any, tmp_path: Path) -> None:
        def act(group: h5py.Group, name: str) -> None:
            os.mkfifo(tmp_path / "pipe")
            del group[name]
            outside = [(str(tmp_path / "pipe"), 0, h5py.h5f.UNLIMITED)]
            group.create_dataset(name, (5, 5, 144, 1), np.float32, external=outside)

        change(act, "is stored in another file")

    def test_a_virtual_dataset(self, change: Any, tmp_path: Path) -> None:
        def act(group: h5py.Group, name: str) -> None:
            del group[name]
            layout = h5py.VirtualLayout((5, 5, 144, 1), np.float32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (5, 5, 144, 1))
            group.create_virtual_dataset(name, layout)

        change(act, "is stored in another file")


def test_a_layer_under_another_name(stock: Any, models: Any, tmp_path: Path) -> None:
    folder = layouts.write_hub(tmp_path / "b0", stock)
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        file["layers/conv2d_4/vars"].attrs["name"] = "head_conv"
    refused(models[ODD], folder, "layers/conv2d_4 is head_conv, expected is block2a_expand_conv")


def test_keras_own_b1(models: Any, tmp_path: Path) -> None:
    b1 = keras.applications.EfficientNetB1(weights=None, include_top=False, input_shape=(64, 64, 3))
    for name in ("b1.h5", "b1.weights.h5"):
        b1.save_weights(tmp_path / name)
        refused(models[EVEN], tmp_path / name, "does not hold efficientnetb0 weights")


def test_input_layers_without_weights(stock: Any, models: Any, tmp_path: Path) -> None:
    path = layouts.write_named(tmp_path / "b0.h5", stock)
    with h5py.File(path, "r+") as file:
        file.create_group("normalization").attrs["weight_names"] = np.zeros(0)
        file.attrs["layer_names"] = ["normalization", *map(str, file.attrs["layer_names"])]
    refused(models[EVEN], path, "its normalization layer has no weights")


class TestDamagedTimm:
    @pytest.fixture
    def folder(self, tensors: Any, tmp_path: Path) -> Path:
        return layouts.write_timm(tmp_path / "b0", tensors, "tf_efficientnet_b0", IMAGENET)

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("blocks.2.1.bn3.running_var", None, "blocks.2.1.bn3.running_var is missing"),
            ("conv_stem.weight", np.zeros((32, 4, 3, 3), np.float32), r"\(32, 4, 3, 3\), expected"),
            ("bn2.bias", np.zeros(1280, np.int64), "bn2.bias is I64"),
            ("bn2.bias", np.full(1280, np.inf, np.float32), "bn2.bias holds numbers"),
            ("bn1.running_var", np.full(32, -1, np.float32), "stem_bn has a negative variance"),
            ("blocks.0.1.conv_dw.weight", np.zeros((16, 1, 3, 3)), "it also holds blocks.0.1"),
        ],
    )
    def test_a_tensor(
        self, folder: Path, models: Any, tensors: Any, name: str, value: Any, told: str
    ) -> None:
        changed = {key: one for key, one in tensors.items() if key != name}
        if value is not None:
            changed[name] = value
        safetensors.numpy.save_file(changed, folder / "model.safetensors")
        refused(models[EVEN], folder, told)

    @pytest.mark.parametrize("length", [12, 4000, 9_000_000])
    def test_a_truncated_file(self, folder: Path, models: Any, length: int) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:length])
        refused(models[EVEN], folder, "model.safetensors does not hold efficientnetb0 weights")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (None, "config.json is missing in its folder"),
            ("{", "config.json cannot be read"),
            ("[]", "config.json is not a JSON object"),
            ("[" * 100_000, "config.json cannot be read"),
            ({"architecture": "tf_efficientnet_b1"}, "config.json is of tf_efficientnet_b1"),
            ({"architecture": ["tf_efficientnet_b0"]}, "config.json is of"),
            ({"model_args": {"pad_type": ""}}, "model_args"),
            ({"pretrained_cfg": {"mean": [0, 0, 0]}}, "no std of three numbers"),
            ({"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1]}}, "no std of three numbers"),
            ({"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "not positive"),
            ({"pretrained_cfg": {"mean": [0, 0, float("nan")], "std": [1, 1, 1]}}, "no mean"),
        ],
    )
    def test_its_config(self, folder: Path, models: Any, change: Any, told: str) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        path.unlink()
        if isinstance(change, dict):
            layouts.write_json(path, {**config, **change})
        elif change is not None:
            path.write_text(change)
        refused(models[EVEN], folder, told)


class TestFiles:
    @pytest.mark.parametrize("length", [12, 4000, 9_000_000])
    def test_a_truncated_hdf5_file(
        self, stock: Any, models: Any, tmp_path: Path, length: int
    ) -> None:
        path = layouts.write_named(tmp_path / "b0.h5", stock)
        path.write_bytes(path.read_bytes()[:length])
        refused(models[EVEN], f"{path}@imagenet", "b0.h5 does not hold efficientnetb0 weights")

    def test_an_empty_folder(self, models: Any, tmp_path: Path) -> None:
        refused(models[EVEN], tmp_path, "holds none of model.weights.h5 and model.safetensors")

    def test_a_folder_with_two(self, models: Any, tmp_path: Path) -> None:
        for name in ("model.weights.h5", "model.safetensors"):
            (tmp_path / name).touch()
        refused(models[EVEN], tmp_path, "holds more than one of")

    @pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02}q\x00", b"\x80\x05\x95"])
    def test_a_pickle(self, models: Any, tmp_path: Path, begin: bytes) -> None:
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(begin + bytes(100))
        refused(models[EVEN], path, "PyTorch pickle .* take model.safetensors and config.json")

    def test_a_pipe(self, models: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "b0.h5")
        refused(models[EVEN], tmp_path / "b0.h5", "a pipe, socket or device, not a file")

    def test_no_file(self, models: Any, tmp_path: Path) -> None:
        refused(models[EVEN], tmp_path / "b0.h5@imagenet", "cannot read the weights .*--weights")
        refused(models[EVEN], tmp_path / ("x" * 300), "cannot read the weights .*--weights")

    def test_the_command_refuses_before_it_reads_images(
        self, stock: Any, tensors: Any, tmp_path: Path
    ) -> None:
        folder = layouts.write_timm(tmp_path / "b0", tensors, "efficientnet_b0", IMAGENET)
        words = ["train", tmp_path / "nothing", "--weights"]
        assert_refused(lmedge(*words, folder, cwd=tmp_path), 9, "--image-size 225")
        path = layouts.write_named(tmp_path / "b0.h5", stock)
        assert_refused(lmedge(*words, path, cwd=tmp_path), 9, "PATH@imagenet", "PATH@advprop")
        shutil.rmtree(folder)
        assert_refused(lmedge(*words, folder, cwd=tmp_path), 9, "cannot read the weights")

    def test_numbers_that_are_none_are_refused_before_the_network_is_built(
        self, stock: Any, tensors: Any, tmp_path: Path
    ) -> None:
        path = layouts.write_named(tmp_path / "b0.h5", stock)
        with h5py.File(path, "r+") as file:
            file["stem_bn/stem_bn/moving_variance:0"][5] = np.inf
        with pytest.raises(
            WeightsError, match="moving_variance:0 holds numbers that are not finite"
        ):
            check_pretrained("efficientnetb0", f"{path}@imagenet", 224)
        folder = layouts.write_timm(tmp_path / "b0", tensors, "tf_efficientnet_b0", IMAGENET)
        check_pretrained("efficientnetb0", str(folder), 224)
        held = safetensors.numpy.load_file(folder / "model.safetensors")
        held["bn1.bias"][0] = np.nan
        safetensors.numpy.save_file(held, folder / "model.safetensors")
        with pytest.raises(WeightsError, match=r"bn1\.bias holds numbers that are not finite"):
            check_pretrained("efficientnetb0", str(folder), 224)
