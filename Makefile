# make demo   the main job on this machine: hosts, platform, release, release under load, rollback
# make test   everything that must hold at every landing
# make prove  what takes longer: fault matrices, long loads, repetitions; writes docs/proofs/
SHELL := /bin/sh
# A pyenv shim can exist for a Python that is not there: an interpreter counts when it runs.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 $$HOME/.pyenv/versions/3.1[1-4]*/bin/python3 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && { echo "$$p"; exit; }; done; \
	for p in python3.11 python3; do "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done)
PYTHON_OR_ANY = $(if $(PYTHON),$(PYTHON),python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_VAULT_PASSWORD_FILE := $(CURDIR)/.lab/vault-password

.DEFAULT_GOAL := help
.PHONY: help setup lab demo test prove bench down clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/ready ## make the Python environment (.venv)

.venv/ready: requirements.txt tests/requirements.txt constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt -c constraints.txt
	touch $@

lab: setup ## start the lab hosts and make their secrets
	python lab/lab.py up
	ansible-playbook playbooks/secrets.yml -i inventories/lab

demo: setup ## run the main job and show what was measured
	python lab/demo.py

test: ## run all tests
	@$(PYTHON_OR_ANY) tests/pythons.py
	@$(MAKE) --no-print-directory setup
	python tests/stages.py test

prove: setup ## run the long proofs and write their report
	python tests/stages.py prove

bench: setup ## measure; prints figures, asserts nothing
	python tests/stages.py bench

down: setup ## remove the lab hosts
	python lab/lab.py down

# With the machine's own Python: it has to work when .venv is gone or broken.
clean: ## remove everything this project made or installed on the machine
	$(PYTHON_OR_ANY) -B lab/lab.py clean
	rm -rf .venv .cache .hypothesis .pytest_cache .mypy_cache .ruff_cache lab/api/.ruff_cache lab/api/.pytest_cache
	find lab molecule plugins roles tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
