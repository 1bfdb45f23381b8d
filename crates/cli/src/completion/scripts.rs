//! What shells run.

pub(super) const BASH: &str = r#"# Completion of PROGRAM for bash: source <(PROGRAM completion bash)
_PROGRAM_complete() {
  local cur line words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  # A colon divides words for bash, not for us.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    local cword all
    _get_comp_words_by_ref -n := -c cur -w all -i cword
    words=("${all[@]:1:cword}")
  fi
  cur=${words[${#words[@]}-1]}
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      compopt -o default
      return
    fi
    COMPREPLY+=("${line%%$'\t'*}")
  done < <(PROGRAM __complete "${words[@]}" 2>/dev/null)
  if [[ $cur == *[:=]* ]]; then
    # What stands before the last divider is there already.
    local i have=${cur%"${cur##*[:=]}"}
    for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$have"}; done
  fi
}
complete -F _PROGRAM_complete PROGRAM
"#;

pub(super) const ZSH: &str = r#"#compdef PROGRAM
# Completion of PROGRAM for zsh: source <(PROGRAM completion zsh)
_PROGRAM() {
  local line value about
  local -a found
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    value=${line%%$'\t'*} about=${line#*$'\t'}
    found+=("${value//:/\\:}${about:+:$about}")
  done < <(PROGRAM __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe PROGRAM found
}
# As a file in a folder of functions it is itself the function, at its first call.
if [[ $funcstack[1] == _PROGRAM ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
"#;

pub(super) const FISH: &str = r#"# Completion of PROGRAM for fish: PROGRAM completion fish | source
function __PROGRAM_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (PROGRAM __complete $words[2..-1] 2>/dev/null)
  if test "$found" = :files
    __fish_complete_path (commandline -ct)
    return
  end
  printf '%s\n' $found
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;
