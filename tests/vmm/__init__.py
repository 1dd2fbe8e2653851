# SPDX-License-Identifier: Apache-2.0
"""proa-vmm on a true KVM, in a nested machine."""
