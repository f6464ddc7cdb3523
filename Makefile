.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench test-servers

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with everything in it (quick when nothing changed)
	@scripts/setup.sh

demo: setup ## photograph a made-up object and turn the photos into build/demo/model
	.venv/bin/phototwin simulate build/demo/phone --views 36
	.venv/bin/phototwin run build/demo/phone/capture --out build/demo/model

test: lint test-servers ## lint, then run every test against real servers
	.venv/bin/python -m pytest

lint: setup ## check style, types and which package may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup ## measure speed and quality
	.venv/bin/python -m tests.bench

test-servers: ## install RabbitMQ, Ceph's object gateway and the glTF validator for the tests
	@scripts/test-servers.sh
