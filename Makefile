# make demo | test | check | bench | containers | evidence       (sets up everything it needs in .venv by itself)
.DEFAULT_GOAL := help
.PHONY: help demo test check bench containers evidence clean

VENV := .venv
RUN := $(VENV)/bin
# the tests start some two hundred processes, each of which would compile all sources anew
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready

help:
	@echo "make demo        watch a key being born: broker, Alice and Bob on this machine"
	@echo "make test        every invariant at small size, under five minutes"
	@echo "make check       ruff, mypy --strict, import contracts, generated documents"
	@echo "make bench       one table of speeds beside their baselines"
	@echo "make containers  the link of docker-compose.yml, restarted, paused, killed and attacked"
	@echo "make evidence    the long runs, resumable, at most an hour; writes docs/evidence/"

$(READY): requirements.lock pyproject.toml scripts/find-python
	@test -x $(RUN)/python && $(RUN)/python -c 'import sys; assert sys.version_info >= (3, 13)' 2>/dev/null || \
	  { python=$$(scripts/find-python) && echo "setting up $(VENV) with $$python" && "$$python" -m venv --clear $(VENV); }
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)
	@$(RUN)/qkdlink demo

test: $(READY)
	@$(RUN)/python -m pytest -m "not evidence" --ignore tests/containers -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	@scripts/check

bench: $(READY)
	@$(RUN)/qkdlink bench

containers: $(READY)
	@$(RUN)/python -m pytest -m "not evidence" -n 2 --dist loadfile tests/containers

evidence: $(READY)
	@$(RUN)/python -m maintenance.evidence $(EVIDENCE)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
