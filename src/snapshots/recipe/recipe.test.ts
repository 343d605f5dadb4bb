import { expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { parseRecipe } from './recipe.ts';

const MINIMAL = 'suites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\n';

test('reads all that a recipe can say', () => {
  const recipe = parseRecipe(
    'mine.toml',
    `title = "Mine"
from = "debian/trixie"
packages = ["hello", "g++-14"]
commands = ["useradd me"]
[[files]]
path = "/etc//motd"
content = "Hi\\n"
[[files]]
path = "usr/local/bin/x"
source = "files/x"
mode = "0755"
[[probes]]
run = "hello"
expect = "Hello"
`,
  );
  expect(recipe).toEqual({
    title: 'Mine',
    from: 'debian/trixie',
    suites: [],
    packages: ['hello', 'g++-14'],
    without: [],
    files: [
      { path: 'etc/motd', content: 'Hi\n', mode: 0o644 },
      { path: 'usr/local/bin/x', source: 'files/x', mode: 0o755 },
    ],
    commands: ['useradd me'],
    probes: [{ run: 'hello', expect: 'Hello', status: 0 }],
  });
});

test.each(['debian', 'debian/trixie', 'debian/experimental', 'debian/kde'])('the recipe %s is sound', (name) => {
  const text = readFileSync(new URL(`../../../recipes/${name}.toml`, import.meta.url), 'utf8');
  expect(parseRecipe(name, text).title).toContain('Debian');
});

test.each<[string, string, string]>([
  ['no TOML', `${MINIMAL}packages = [`, 'r.toml:3:'],
  ['neither suites nor from', 'kernel = "linux-image-amd64"\n', 'r.toml:1: suites: missing'],
  ['no kernel', 'suites = ["unstable"]\n', 'kernel: missing'],
  ['an unknown field', `${MINIMAL}package = ["a"]\n`, 'r.toml:3: package: there is no such field (known: title, from'],
  ['an unknown table', `${MINIMAL}\n[file]\npath = "a"\n`, 'r.toml:4: file: there is no such field'],
  ['a package with a version', `${MINIMAL}\npackages = ["hello=2"]\n`, 'r.toml:4: packages: "hello=2": expected the name of a package'],
  ['a list that is none', `${MINIMAL}packages = "hello"\n`, 'r.toml:3: packages: expected a list, as in packages = ["…"], not "hello"'],
  ['a number in a list', `${MINIMAL}packages = [1]\n`, 'r.toml:3: packages: expected a text in quotes, not 1'],
  ['a suite that is a path', 'suites = ["../x"]\nkernel = "k-k"', 'r.toml:1: suites:'],
  ['a path out of the tree', `${MINIMAL}[[files]]\npath = "/etc/../../x"\ncontent = ""\n`, 'r.toml:4: files[0].path:'],
  ['the root as a file', `${MINIMAL}[[files]]\npath = "/"\ncontent = ""\n`, 'r.toml:4: files[0].path:'],
  ['a file without content', `${MINIMAL}[[files]]\npath = "/a"\n`, 'r.toml:3: files[0].content: expected either'],
  ['a source elsewhere', `${MINIMAL}[[files]]\npath = "/a"\nsource = "../secret"\n`, 'r.toml:5: files[0].source:'],
  ['a mode that is a number', `${MINIMAL}[[files]]\npath = "/a"\ncontent = ""\nmode = 755\n`, 'r.toml:6: files[0].mode:'],
  ['the second table wrong', `${MINIMAL}[[probes]]\nrun = "a"\n[[probes]]\nrun = 5\n`, 'r.toml:6: probes[1].run:'],
  ['a probe of two lines', `${MINIMAL}[[probes]]\nrun = "a\\nb"\n`, 'r.toml:4: probes[0].run:'],
  [
    'a status out of range',
    `${MINIMAL}[[probes]]\nrun = "a"\nstatus = 256\n`,
    'r.toml:5: probes[0].status: expected a whole number from 0 to 255',
  ],
  ['a from that is no name', 'from = "https://x"\n', 'r.toml:1: from:'],
  ['a from that goes up', 'from = "debian/.."\n', 'r.toml:1: from:'],
])('says of %s what and where', (_what, text, message) => {
  expect(() => parseRecipe('r.toml', text)).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining(message) }));
});
