"""Losses and training steps on every Keras backend that is installed, each but our own in a process of its own."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.lazily import lazily
from tests.places import ROOT

keras = lazily("keras")
losses = lazily("trainer.losses")
backend_steps = lazily("tests.trainer.backend_steps")

pytestmark = pytest.mark.timeout(900)  # each backend compiles eleven small trainings

MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
INSTALLED = [backend for backend, module in MODULES.items() if importlib.util.find_spec(module)]


@functools.cache
def document(backend):
    if backend == keras.backend.backend():
        return json.loads(json.dumps(backend_steps.document()))
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling takes longer than two steps
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainer.backend_steps"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=MODULES)
def steps(request):
    if request.param not in INSTALLED:
        pytest.skip(f"{request.param} is not installed")
    received = document(request.param)
    assert received["backend"] == request.param
    return received


def test_more_than_one_backend_is_tried():
    assert {"tensorflow", "jax"} <= set(INSTALLED)


def test_every_loss_trains(steps):
    assert set(steps["steps"]) == {*losses.LOSSES, "short_cnn"}
    for name, step in steps["steps"].items():
        assert np.isfinite(step["losses"]).all(), name
        assert len(step["moved"]) >= 4
        assert all(1e-4 < moved < 0.1 for moved in step["moved"]), name


def test_only_jax_which_would_run_op_by_op_is_compiled_by_xla(steps):
    assert {step["op_by_op"] for step in steps["steps"].values()} == {steps["backend"] != "jax"}


def test_losses_and_statistics_are_those_of_tensorflow(steps):
    reference = document("tensorflow")
    for name in losses.LOSSES:
        for head, rows in reference["rows"][name].items():
            np.testing.assert_allclose(steps["rows"][name][head], rows, rtol=1e-5, atol=1e-5, err_msg=name)
    for name, value in reference["statistics"].items():
        assert steps["statistics"][name] == pytest.approx(value, abs=1e-5), name


def test_steps_lead_where_those_of_tensorflow_lead(steps):
    for name, step in document("tensorflow")["steps"].items():
        if name != "triplet-random":  # which draws by the backend's own generator
            np.testing.assert_allclose(steps["steps"][name]["losses"], step["losses"], rtol=1e-4, err_msg=name)
