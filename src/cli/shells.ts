/**
 * The scripts by which shells complete `daybreak`: they hand the words to `daybreak __complete`, whose answer is a line for each candidate
 * (the word, a tab, what it is), and at last `:none`, `:files` or `:directories`.
 */

/**
 * bash splits words at `:`, `=` and `@`, which names and addresses have, and wants only what is behind the last of these. Works without the
 * package bash-completion.
 */
const BASH = `# bash completion for daybreak: eval "$(daybreak completion bash)", or save it as
# ~/.local/share/bash-completion/completions/daybreak
_daybreak() {
  local rest=\${COMP_LINE:0:COMP_POINT} words=() word i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
      rest=\${rest#"\${rest%%[![:space:]]*}"}
      words+=("")
    fi
    ((i < COMP_CWORD)) || word=\${rest:0:\${#word}}
    words[\${#words[@]}-1]+=$word
    rest=\${rest#"$word"}
  done
  local current=\${words[\${#words[@]}-1]} lines=() line
  while IFS= read -r line; do lines+=("$line"); done < <("\${1/#\\~/$HOME}" __complete "\${words[@]:1}" 2>/dev/null)
  ((\${#lines[@]} > 0)) || return 0
  local paths=\${lines[\${#lines[@]}-1]} behind="" n
  for ((n = \${#current} - 1; n >= 0; n--)); do
    if [[ $COMP_WORDBREAKS == *"\${current:n:1}"* ]]; then behind=\${current:0:n+1}; break; fi
  done
  COMPREPLY=()
  for line in "\${lines[@]:0:\${#lines[@]}-1}"; do
    line=\${line%%$'\\t'*}
    COMPREPLY+=("\${line#"$behind"}")
  done
  case $paths in
    :files) compopt -o default 2>/dev/null ;;
    :directories) compopt -o dirnames 2>/dev/null ;;
  esac
  [[ \${#COMPREPLY[@]} -ne 1 || \${COMPREPLY[0]} != *: ]] || compopt -o nospace 2>/dev/null
}
complete -F _daybreak daybreak
`;

const ZSH = `#compdef daybreak
# zsh completion for daybreak: save it as _daybreak in a directory of $fpath, or eval "$(daybreak completion zsh)" behind compinit
_daybreak() {
  local -a lines values
  local line word about paths
  lines=("\${(@f)$("\${(Q)words[1]}" __complete "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}")
  paths=\${lines[-1]}
  for line in "\${(@)lines[1,-2]}"; do
    word=\${line%%$'\\t'*} about=\${line#*$'\\t'}
    values+=("\${word//:/\\\\:}\${about:+:$about}")
  done
  (( \${#values} )) && _describe -t values daybreak values
  case $paths in
    :files) compset -P '--*='; _files ;;
    :directories) compset -P '--*='; _files -/ ;;
  esac
}
if [[ \${funcstack[1]} == _daybreak ]]; then _daybreak "$@"; else compdef _daybreak daybreak; fi
`;

const FISH = `# fish completion for daybreak: daybreak completion fish > ~/.config/fish/completions/daybreak.fish
function __daybreak_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l lines ($program __complete $words "$current" 2>/dev/null)
    set -q lines[1]; or return
    set -l paths $lines[-1]
    set -e lines[-1]
    for line in $lines
        echo $line
    end
    set -l before (string match -r -- '^--[a-z-]+=' $current)
    # Behind a colon it would complete directories, too.
    set -q lines[1]; and test $paths = :directories; and return
    set -q before[1]; or set before ''
    set -l path (string replace -r -- '^--[a-z-]+=' '' $current)
    switch $paths
        case :files
            for file in (__fish_complete_path $path)
                echo $before$file
            end
        case :directories
            for file in (__fish_complete_directories $path)
                echo $before$file
            end
    end
end
complete -c daybreak -f -a '(__daybreak_complete)'
`;

export const SHELLS = { bash: BASH, zsh: ZSH, fish: FISH } as const;
