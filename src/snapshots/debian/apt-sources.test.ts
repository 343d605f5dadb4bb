import { expect, test } from 'vitest';
import { mirrorFromSources } from './apt-sources.ts';

const DEB822 = `Types: deb
# http://snapshot.example/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
`;

test('a deb822 file gives its mirror, without the slash at the end', () => {
  expect(mirrorFromSources([['debian.sources', DEB822]])).toBe('http://mirror.example/debian');
});

test('a one-line file gives its mirror, options and comments aside', () => {
  const content =
    '# deb http://no.example/debian sid main\ndeb-src http://no.example/debian sid main\ndeb [arch=amd64 signed-by=/k] https://yes.example/debian trixie main\n';
  expect(mirrorFromSources([['sources.list', content]])).toBe('https://yes.example/debian');
});

test('other archives, disabled ones and other schemes are passed over', () => {
  const found = mirrorFromSources([
    [
      'a.list',
      'deb http://x.example/ubuntu noble main\ndeb https://deb.nodesource.example/node_20.x nodistro main\ndeb cdrom:[x]/debian sid main',
    ],
    ['b.sources', 'Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\n'],
    ['c.sources', 'Types: deb-src\nURIs: http://src.example/debian\nSuites: sid\n'],
  ]);
  expect(found).toBeUndefined();
});
