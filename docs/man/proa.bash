# bash completion for proa. SPDX-License-Identifier: Apache-2.0
# Commands and options come from --help itself, names from the store: nothing here to keep in step.
_proa() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" i words=""
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--root | --run-root) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]} && break ;;
		esac
	done
	if [[ -z $command ]]; then
		words="$(proa --help 2>/dev/null | sed -nE 's/^  ([a-z]+) .*/\1/p') --root --run-root --verbose --version --help"
	elif [[ $cur == -* ]]; then
		[[ $command == kernel && $COMP_CWORD -gt $((i + 1)) ]] && command+=" ${COMP_WORDS[i + 1]}"
		# shellcheck disable=SC2086
		words=$(proa $command --help 2>/dev/null | sed -nE 's/^ +(-[a-zA-Z], )?(--[a-z-]+).*/\2/p')
	else
		case $command:$prev in
		*:--isolation) words="container vm" ;;
		*:--hypervisor) words="auto proa-vmm qemu emulation" ;;
		*:--network) words="none host" ;;
		*:--kernel | kernel:default | kernel:rm) words=$(proa kernel ls -q 2>/dev/null) ;;
		kernel:kernel) words="pull build import ls rm default" ;;
		run:* | compare:* | save:* | tag:* | rmi:* | history:*)
			words=$(proa images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null) ;;
		exec:* | stop:* | kill:*) words=$(proa ps --format '{{.Names}}' 2>/dev/null) ;;
		rm:* | logs:*) words=$(proa ps -a --format '{{.Names}}' 2>/dev/null) ;;
		inspect:*) words="$(proa ps -a --format '{{.Names}}' 2>/dev/null) $(proa images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)" ;;
		esac
	fi
	# file names where nothing else fits, as after -v or -o
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	__ltrim_colon_completions "$cur" 2>/dev/null || true
}
complete -o filenames -F _proa proa
