# make demo and make test are all the set-up there is: each makes what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Workers of the tests. Each holds a TensorFlow of its own: about 2 GB.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# The page for phones is built with Node, by who changes it. The built one is in the clone.
NODE_MODULES := page/node_modules/.package-lock.json

.PHONY: demo test test-quick test-all test-distributions test-least app app-check base lint docs wheel sbom \
	audit clean

demo: $(VENV)/.train ## Draw, teach, train, export, classify and measure: lmedge-demo/
	$(BIN)/lmedge demo

test: $(VENV)/.dev $(VENV)-clients/.done $(if $(shell command -v npm),$(NODE_MODULES)) ## Every promise: about 10 minutes on two cores
	$(PYTEST)

test-quick: $(VENV)/.dev ## What needs neither TensorFlow nor another process: at most 90 seconds
	$(PYTEST) --quick -r fE

test-all: $(VENV)/.dev $(VENV)-clients/.done ## Real trainings and the studies too
	$(PYTEST) -m ""

test-distributions: $(VENV)/.dev ## The sdist and the wheel, each installed in an environment of its own
	$(BIN)/python -m pytest -m "" tests/test_distributions.py

test-least: $(VENV)/.dev $(VENV)-least/.done ## The device with the least OpenCV that is allowed, in an environment of its own
	LMEDGE_KEPT_PYTHON=$(abspath $(BIN)/python) $(VENV)-least/bin/python -m pytest -p no:cacheprovider \
		tests/lmedge/camera tests/lmedge/commands tests/lmedge/test_image.py tests/lmedge/test_jpeg.py \
		tests/lmedge/test_formats.py tests/lmedge/test_interpreter.py

app: $(VENV)/.dev build/page/index.html ## Build the page for phones into lmedge/app/built
	$(BIN)/python page/pack.py

app-check: $(VENV)/.dev ## Build it again and fail if lmedge/app/built is another one
	rm -rf build/page
	$(MAKE) build/page/index.html
	$(BIN)/python page/pack.py --check

base: $(VENV)/.dev ## Make lmedge/teach/base.tflite again from ../shared/weights; says if it is another one
	$(BIN)/python -m benchmarks.studies.make_base

lint: $(VENV)/.dev wheel ## Format, lint, words of pages and help, types of the installed wheel and the studies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.glossary
	rm -rf build/installed
	$(PIP) --no-deps --target build/installed dist/*.whl
	cd build/installed && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p lmedge
	MYPYPATH=build/installed $(BIN)/mypy -p benchmarks.studies

docs: $(VENV)/.dev ## The pages and the reference of the Python API: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# build/page, build/site and build/installed are of targets that may run beside this one.
wheel: $(VENV)/.dev ## dist/*.whl
	rm -rf build/lib* build/bdist.* dist
	$(BIN)/python -m build --wheel --quiet

sbom: $(VENV)-audit/.done ## dist/sbom.cdx.json: the packages of hashes.txt in CycloneDX, for a release
	mkdir -p dist
	$(VENV)-audit/bin/cyclonedx-py requirements hashes.txt --pyproject pyproject.toml \
		--output-reproducible --of JSON -o dist/sbom.cdx.json

audit: $(VENV)/.dev $(VENV)-audit/.done ## Known advisories of the packages of hashes.txt; without a connection, the last answer
	$(BIN)/python -m tests.advisories $(VENV)-audit/bin/pip-audit $(VENV)-audit

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-clients $(VENV)-least page/node_modules build dist *.egg-info \
		lmedge-demo .pytest_cache

$(NODE_MODULES): page/package.json page/package-lock.json
	@command -v npm > /dev/null || { echo "npm is not installed: install Node 20.19 or newer"; exit 1; }
	cd page && npm ci --silent
	touch $@

build/page/index.html: $(NODE_MODULES) $(shell find page/src page/index.html page/*.ts page/*.json)
	rm -rf build/page
	cd page && npm run --silent build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

# Only files whose hash is in hashes.txt are installed; lmedge itself then adds none.
$(VENV)/.dev: pyproject.toml constraints.txt hashes.txt | $(BIN)/python
	$(PIP) --require-hashes -r hashes.txt
	$(PIP) --no-build-isolation --no-index -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.train

$(VENV)/.train: $(VENV)/.dev
	touch $@

$(VENV)-audit/.done:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

# The device's own install with the other clients of a .tflite: without TensorFlow, and apart
# because mediapipe and the quantization toolkit exclude each other.
$(VENV)-clients/.done: pyproject.toml constraints-clients.txt
	$(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-clients/bin/python -m pip install --quiet -c constraints-clients.txt -e ".[clients]"
	touch $@

# All other packages are those of constraints.txt.
$(VENV)-least/.done: pyproject.toml constraints.txt constraints-least.txt
	$(PYTHON) -m venv $(VENV)-least
	grep -v -e '^opencv-python=' -e '^simplejpeg=' constraints.txt >$(VENV)-least/others.txt
	$(VENV)-least/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-least/bin/python -m pip install --quiet -c $(VENV)-least/others.txt -c constraints-least.txt \
		-e ".[camera]" pytest pytest-timeout
	touch $@
