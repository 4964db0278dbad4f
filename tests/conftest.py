"""Strict settings for every test, and small real inputs they share."""

import contextlib
import fcntl
import functools
import gc
import os
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

# Named in pyproject.toml, and looked for when the package is imported.
import tests.type_checks  # noqa: F401

# What all workers, and the scripts that they run, share: a program that
# several of them need is compiled once. It also keeps the user's cache folder
# out of the tests.
if "PYTEST_XDIST_WORKER" not in os.environ:
  _TEMPORARY = tempfile.TemporaryDirectory()
  os.environ["PROTOJAX_TESTS"] = _TEMPORARY.name
SHARED = Path(os.environ["PROTOJAX_TESTS"])
os.environ["XDG_CACHE_HOME"] = str(SHARED / "cache")
for _option, _value in (
  ("jax_compilation_cache_dir", str(SHARED / "cache" / "programs")),
  ("jax_persistent_cache_min_compile_time_secs", 0.1),
):
  jax.config.update(_option, _value)
  os.environ[_option.upper()] = str(_value)

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Programs run for a moment here, and compile in half of the time without LLVM's
# optimisations and the emitters that go through MLIR. An unknown flag aborts
# the process, so only releases that were tried get it, as in `parallel`; those
# after 0.10 have no other emitters. `.ci/run` compiles as a user does.
# Split over threads, LLVM takes a third more of processor time.
_QUICK = []
if jax.__version__.startswith(("0.10.", "0.11.", "0.12.")):
  _QUICK.append("--xla_backend_optimization_level=0")
  _QUICK.append("--xla_cpu_parallel_codegen_split_count=1")
  # Where devices wait longer than this for each other the process is aborted;
  # 40 seconds, as it is by default, have been too few on a busy machine.
  _QUICK.append("--xla_cpu_collective_call_terminate_timeout_seconds=300")
if jax.__version__.startswith("0.10."):
  _QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_QUICK))

ROOT = Path(__file__).parent.parent
DEBUG = "configs/protopnet_photos.py:debug"


def pytest_configure(config):
  for others in (
    # Another process may be writing it; then this one compiles.
    "Error reading persistent compilation cache",
    # Orbax's threads after a checkpoint that failed in a test before.
    "(?s)Exception ignored.*Event loop is closed",
  ):
    config.addinivalue_line("filterwarnings", f"ignore:{others}")


def pytest_collection_finish(session):
  # 7 % of the processor time went to searches for garbage, which went through
  # all modules and tests again and again.
  gc.collect()
  gc.freeze()
  gc.set_threshold(20_000, 20, 20)


class _ByFile(LoadFileScheduling):
  """A file's tests in one worker, but of the common suite a method's."""

  def _split_scope(self, nodeid):
    file, _, test = nodeid.partition("::")
    of_method = file.endswith("/test_every_method.py")
    return file + test.partition("[")[2] if of_method else file


def pytest_xdist_make_scheduler(config, log):
  return _ByFile(config, log)


class ArraySource:
  """Images in memory, two or more classes told apart by their colour."""

  skipped = ()

  def __init__(self, count=24, size=16, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    self.class_names = tuple(f"class {k}" for k in range(classes))
    self.labels = (np.arange(count) % classes).astype(np.int32)
    noise = rng.integers(0, 120, (count, size, size, 3))
    tint = 100 * np.eye(3, dtype=int)[self.labels % 3]
    self.images = (noise + tint[:, None, None]).astype(np.uint8)

  def __len__(self):
    return len(self.images)

  def __getitem__(self, i):
    return {
      "image": self.images[i],
      "label": int(self.labels[i]),
      "name": self.name(i),
    }

  def name(self, i):
    return f"image {i}"


ARRAYS = ArraySource(60, 40, 3)


@pytest.fixture
def array_source():
  """The class itself, to be made with the sizes a test needs."""
  return ArraySource


@pytest.fixture
def torch():
  """As much of torch as the pickles of foreign files name, for one test."""
  from tests.weights import foreign_files

  with foreign_files.stand_ins() as module:
    yield module


def run_script(*arguments, **environment):
  """Runs a script of the repository as a user would; the finished process."""
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    cwd=ROOT,
    env={**os.environ, **environment},
    text=True,
    capture_output=True,
    check=False,
    stdin=subprocess.DEVNULL,
  )


@pytest.fixture(scope="session")
def debug_run():
  """Workdir of `train.py` on the embedded photographs, shrunk to seconds.

  The first worker that asks for it trains, others wait.
  """
  folder = SHARED / "debug"
  with _alone():
    if not (folder / "stdout.txt").exists():
      done = run_script("train.py", f"--config={DEBUG}", f"--workdir={folder}")
      assert done.returncode == 0, done.stderr
      (folder / "stdout.txt").write_text(done.stdout)
  return folder


@pytest.fixture(scope="session")
def train_arrays():
  """`train_arrays(images)`: trains a run on images in memory from Python.

  All workers share it: the first call trains, others find it finished. It is
  that of docs/python.md, whose programs are then compiled already.
  """

  # Not above: types are checked in what is imported after this file.
  import protojax as pj

  def train(images=ARRAYS.images):
    with _alone():
      return pj.train(
        "protopnet_folder:debug",
        (images, ARRAYS.labels),
        SHARED / "arrays",
        class_names=["red", "green", "blue"],
        **{"warm.epochs": 1, "joint.epochs": 0, "batch_size": 12},
      )

  return train


@contextlib.contextmanager
def _alone():
  """One worker at a time."""
  with (SHARED / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@pytest.fixture(scope="session", autouse=True)
def traced_once():
  """The shapes of each backbone are found once: it takes up to a second."""
  from protojax.weights import reading

  found = functools.cache(reading.shapes)

  def shapes(module, image_size=96):
    # Containers of one's own, which may be changed.
    return jax.tree.map(lambda leaf: leaf, found(module, image_size))

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(reading, "shapes", shapes)
    yield


@pytest.fixture(scope="session")
def toyshop(tmp_path_factory):
  """Someone else's methods and data, in a folder on the import path.

  Processes that the tests start find them, too.
  """
  folder = tmp_path_factory.mktemp("toys")
  shutil.copytree(ROOT / "tests/toys/toyshop", folder / "toyshop")
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(folder))
    patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    yield folder / "toyshop"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
  """A Chromium, driven by selenium; without one the test is skipped."""
  webdriver = pytest.importorskip(
    "selenium.webdriver", reason="drives a browser by selenium"
  )
  wait = pytest.importorskip("selenium.webdriver.support.wait")
  chromium = shutil.which("chromium") or shutil.which("google-chrome")
  driver = shutil.which("chromedriver")
  if not (chromium and driver):
    pytest.skip("needs chromium or google-chrome, and chromedriver")
  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  for argument in (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-background-networking",
    "window-size=1200,900",
    f"user-data-dir={tmp_path_factory.mktemp('profile')}",
  ):
    options.add_argument(f"--{argument}")
  # A page whose work is not saved asks before it is left.
  options.set_capability("unhandledPromptBehavior", "accept")
  service = webdriver.ChromeService(driver, log_output=subprocess.DEVNULL)

  class Patient(webdriver.Chrome):
    """Has read a page to its end when `get` returns, however fast it is."""

    def get(self, url):
      super().get(url)
      wait.WebDriverWait(self, 60).until(
        lambda browser: (
          browser.execute_script("return document.readyState") == "complete"
        )
      )

  browser = Patient(options=options, service=service)
  yield browser
  browser.quit()
