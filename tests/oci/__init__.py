# SPDX-License-Identifier: Apache-2.0
"""proa-oci by its command line alone, as an engine would call it: what runc does and the runtime-spec asks for."""
