# make demo   the main job on this machine: hosts, platform, release, release under load, rollback
# make test   everything that must hold at every landing
# make prove  what takes longer: fault matrices, long loads, repetitions; writes docs/proofs/
SHELL := /bin/sh
# A pyenv shim can exist for a Python that is not there: an interpreter counts when it runs.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 $$HOME/.pyenv/versions/3.1[1-4]*/bin/python3 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && { echo "$$p"; exit; }; done; \
	for p in python3.11 python3; do "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done)
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

test: setup ## run all tests
	python tests/stages.py test

prove: setup ## run the long proofs and write their report
	python tests/stages.py prove

bench: setup ## measure; prints figures, asserts nothing
	python tests/stages.py bench

down: setup ## remove the lab hosts
	python lab/lab.py down

clean: ## remove everything this project made or installed on the machine
	@if [ -x .venv/bin/python ]; then .venv/bin/python lab/lab.py clean; fi
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache
