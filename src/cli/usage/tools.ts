/** Usage of the verbs around machines and snapshots. */
import type { Usage } from './usage.ts';

export const PAGE_PORT = 8086;

export const SERVE: Usage = {
  summary: [['serve', 'offer the page that runs machines in a browser']],
  synopsis: ['[options] [DIRECTORY]'],
  about: `Offers the page, in which machines run, to browsers on this computer; the files of DIRECTORY are under files/.
Prints the page's address, and serves until it is interrupted.`,
  operands: ['directory'],
  options: { port: { value: 'N', words: 'anything', about: `where to listen; 0: wherever it is free (default: ${PAGE_PORT})` } },
};

export const DOCTOR: Usage = {
  summary: [['doctor', 'say whether machines can run on KVM here']],
  synopsis: ['[options]'],
  about: `Says whether machines can run on KVM here, by running small guests; if not, what is missing and what mends it.
Without KVM, machines run on Daybreak's own compiler, which needs nothing.`,
  operands: [],
  options: { json: { about: 'for programs' } },
};

export const COMPLETION: Usage = {
  summary: [['completion SHELL', 'make bash, zsh or fish complete verbs, options and names']],
  synopsis: ['bash|zsh|fish'],
  about: `Prints a script that makes the shell complete verbs, options, and the names of snapshots and machines:

  bash   eval "$(daybreak completion bash)" in ~/.bashrc
  zsh    eval "$(daybreak completion zsh)" behind compinit in ~/.zshrc
  fish   daybreak completion fish > ~/.config/fish/completions/daybreak.fish`,
  operands: [['bash', 'zsh', 'fish']],
  options: {},
};

export const HELP_VERB: Usage = {
  summary: [['help VERB', 'more about a verb']],
  synopsis: ['[VERB]'],
  about: 'Prints what verbs there are, or what one of them does and which options it has.',
  operands: ['verb'],
  options: {},
};

export const VERSION: Usage = {
  summary: [['version', 'print the version']],
  synopsis: [''],
  about: 'Prints the version of Daybreak.',
  operands: [],
  options: {},
};
