# SPDX-License-Identifier: Apache-2.0
"""Podman, Docker and containerd, each private to the tests, with proa-oci as their runtime."""
