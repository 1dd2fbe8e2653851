# bash completion for proa-oci and proa-oci-vm. SPDX-License-Identifier: Apache-2.0
_proa_oci() {
	local exe=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} verb="" i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--root | --log | --log-format | --rootless | --cgroup-manager | --criu) i=$((i + 1)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]} && break ;;
		esac
	done
	COMPREPLY=()
	if [ -z "$verb" ]; then
		# the commands of --help are indented by two, with their summary behind
		mapfile -t COMPREPLY < <(compgen -W "$("$exe" --help | sed -nE 's/^  ([a-z]+) +[A-Z].*/\1/p; s/.*(--[a-z-]+).*/\1/p')" -- "$current")
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$exe" "$verb" --help | sed -nE 's/.*(--[a-z-]+).*/\1/p')" -- "$current")
	elif [ "$verb" != spec ] && [ "$verb" != create ] && [ "$verb" != run ]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$exe" list -q 2>/dev/null)" -- "$current")
	fi
}
complete -F _proa_oci proa-oci proa-oci-vm
