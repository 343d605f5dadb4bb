import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { FakeArchive, makeSigner } from '../snapshots/testing/fake-archive.ts';
import { main } from './main.ts';
import { statusOf } from './verbs/boot.ts';
import { testHost, type FakeMachine, type FakeTerminal } from './testing/fakes.ts';
import { USAGES, VERB_NAMES } from './usage/table.ts';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-cli-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('the command line', () => {
  test.each([[['--help']], [['help']], [['-h']]])('%j prints help on standard output and succeeds', async (args) => {
    const { host, terminal } = testHost(directory);
    expect(await main(host, args)).toBe(0);
    expect(terminal.output).toContain('Usage: daybreak VERB');
  });

  test.each(VERB_NAMES)('%s has help of its own, which names all its options, in lines that fit', async (verb) => {
    for (const args of [
      [verb, '--help'],
      ['help', verb],
      [verb, '-h'],
    ]) {
      const { host, terminal } = testHost(directory);
      expect(await main(host, args)).toBe(0);
      expect(terminal.output).toContain(`Usage: daybreak ${verb}`);
      for (const option of Object.keys(USAGES[verb].options)) expect(terminal.output).toContain(`  --${option}`);
      expect(terminal.output.split('\n').filter((line) => line.length > 140)).toEqual([]);
    }
  });

  test.each([
    [['tyr'], 'there is no verb tyr (did you mean try? daybreak --help)'],
    [['help', 'publihs'], 'there is no verb publihs (did you mean publish? daybreak --help)'],
    [['fly'], 'there is no verb fly (daybreak --help)'],
    [['try', 'debian', '--menory', '1G'], "try: Unknown option '--menory' (did you mean --memory? daybreak try --help)"],
  ])('%j is told what may have been meant', async (args, message) => {
    const { host, errors } = testHost(directory);
    expect(await main(host, args)).toBe(2);
    expect(errors.text).toContain(message);
  });

  test.each([
    [[]],
    [['fly']],
    [['constructor']],
    [['try']],
    [['try', '../plan9']],
    [['try', 'debian', 'more']],
    [['try', 'debian', '--']],
    [['try', 'debian', '--memory', '1T']],
    [['boot']],
    [['boot', 'x']],
    [['boot', '--kernel', 'x', '--serial', 'pigeon']],
    [['boot', '--what']],
    [['boot', '--kernel', 'x', '--json']],
    [['try', 'debian', '--json']],
    [['serve', '--port', 'front']],
    [['serve', '--port', '65536']],
    [['serve', 'a', 'b']],
  ])('%j is wrong usage: 2', async (args) => {
    const { host } = testHost(directory);
    expect(await main(host, args)).toBe(2);
  });
});

describe('serve', () => {
  test('prints the address, offers the page and the directory until interrupted', async () => {
    const { host, terminal, abort } = testHost(directory);
    writeFileSync(join(directory, 'index.html'), 'the page');
    writeFileSync(join(directory, 'served'), 'a file');
    const running = main(host, ['serve', '--port', '0', directory]);
    await expect.poll(() => terminal.output).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/\n$/);
    const url = terminal.output.trim();
    expect(await (await fetch(url)).text()).toBe('the page');
    expect(await (await fetch(`${url}files/served`)).text()).toBe('a file');
    abort.abort('SIGINT');
    expect(await running).toBe(128 + 2);
  });

  test('says which directory is missing', async () => {
    const { host, errors } = testHost(directory);
    expect(await main(host, ['serve', '--port', '0', join(directory, 'nowhere')])).toBe(1);
    expect(errors.text).toContain('nowhere');
  });
});

describe('doctor', () => {
  test('says what is there, what is missing, and what mends it', async () => {
    const { host, terminal } = testHost(directory);
    expect(await main(host, ['doctor'])).toBe(0);
    expect(terminal.output).toContain('no   a thing');
    expect(terminal.output).toContain('it is broken.\nTo mend it: mend it');
  });

  test('tells programs the same as JSON', async () => {
    const { host, terminal } = testHost(directory);
    expect(await main(host, ['doctor', '--json'])).toBe(0);
    expect(JSON.parse(terminal.output)).toMatchObject({ kvm: { works: false, problem: 'it is broken', remedy: 'mend it' } });
  });

  test('refuses arguments', async () => {
    const { host } = testHost(directory);
    expect(await main(host, ['doctor', 'kvm'])).toBe(2);
  });
});

describe('boot', () => {
  const boot = async (script: (machine: FakeMachine) => void, ...args: string[]) => {
    const kernel = join(directory, 'kernel');
    writeFileSync(kernel, 'K');
    const test = testHost(directory, script);
    return { ...test, status: await main(test.host, ['boot', '--kernel', kernel, ...args]) };
  };

  test('gives the machine what was asked for, and exits 0 when the guest powers off', async () => {
    const initrd = join(directory, 'initrd');
    writeFileSync(initrd, 'I');
    let seen: FakeMachine | undefined;
    const { status, terminal } = await boot(
      (machine) => {
        seen = machine;
        machine.print('hello\r\n');
        machine.end({ kind: 'poweroff' });
      },
      ...[
        '--initrd',
        initrd,
        '--initrd',
        initrd,
        '--append',
        'a b',
        '--memory',
        '64',
        '--disk',
        'd.img,ro',
        '--cpu',
        'max',
        '--no-reboot',
        '--debug-exit',
      ],
    );
    expect(status).toBe(0);
    expect(terminal.output).toBe('hello\r\n');
    expect(seen!.options).toMatchObject({
      commandLine: 'a b',
      memoryBytes: 64 << 20,
      disks: [{ path: 'd.img', readOnly: true }],
      cpu: 'max',
      console: 'serial',
      noReboot: true,
      debugExit: true,
    });
    expect(seen!.options.initrds.map((data) => new TextDecoder().decode(data))).toEqual(['I', 'I']);
  });

  test('exits with (value << 1) | 1 on debug-exit', () => {
    expect(statusOf({ kind: 'debug-exit', value: 0 })).toBe(1);
    expect(statusOf({ kind: 'debug-exit', value: 0x31 })).toBe(0x63);
  });

  test('writes the serial port to a file', async () => {
    const log = join(directory, 'serial.log');
    const { status, terminal } = await boot(
      (machine) => {
        machine.print('one ');
        machine.print('two');
        machine.end({ kind: 'poweroff' });
      },
      '--serial',
      `file:${log}`,
    );
    expect([status, terminal.output, readFileSync(log, 'utf8')]).toEqual([0, '', 'one two']);
  });

  test('--save-when saves and ends the machine when the guest has printed the text, in however many pieces', async () => {
    let seen: FakeMachine | undefined;
    const { status, errors } = await boot(
      (machine) => {
        seen = machine;
        for (const piece of ['user\nlo', 'g', 'in: ']) machine.print(piece);
      },
      '--save',
      'a.state',
      '--save-when',
      'login:',
    );
    expect([status, seen!.saved]).toEqual([0, ['a.state']]);
    expect(errors.text).toMatch(/saved to a\.state \(1\.2 MB in \d+\.\d s\); --restore a\.state goes on/);
  });

  test('a machine that cannot be saved goes on, and the reason is told', async () => {
    const { status, errors } = await boot(
      (machine) => {
        machine.saveError = new Error('the disk is full');
        machine.print('now');
        setTimeout(() => machine.end({ kind: 'poweroff' }), 20);
      },
      '--save',
      'a.state',
      '--save-when',
      'now',
    );
    expect(status).toBe(0);
    expect(errors.text).toContain('not saved, the machine goes on: the disk is full');
  });

  test('--restore needs no kernel, and takes the memory of the state unless told', async () => {
    let seen: FakeMachine | undefined;
    const off = (machine: FakeMachine): void => (seen = machine).end({ kind: 'poweroff' });
    const { host } = testHost(directory, off);
    expect(await main(host, ['boot', '--restore', 'a.state'])).toBe(0);
    expect([seen!.options.restore, seen!.options.memoryBytes, seen!.options.kernel]).toEqual([{ source: 'a.state' }, undefined, undefined]);
    expect(await main(host, ['boot', '--restore', 'a.state', '--memory', '64'])).toBe(0);
    expect(seen!.options.memoryBytes).toBe(64 << 20);
    expect(await main(host, ['boot', '--kernel', 'x', '--save-when', 'y'])).toBe(2);
  });

  test('a kernel that is not there is named', async () => {
    const { host, errors } = testHost(directory);
    expect(await main(host, ['boot', '--kernel', '/nowhere/vmlinuz'])).toBe(1);
    expect(errors.text).toContain('/nowhere/vmlinuz: it does not exist');
  });

  test('prints what the processor has done on request, in words or as JSON', async () => {
    const off = (machine: FakeMachine) => machine.end({ kind: 'poweroff' });
    expect((await boot(off, '--stats')).errors.text).toMatch(/^instructions +7$/m);
    expect(JSON.parse((await boot(off, '--stats', '--json')).errors.text)).toMatchObject({ instructions: 7, exits: {} });
    expect((await boot(off)).errors.text).toBe('');
  });
});

describe('watching the compiler', () => {
  const place = { linear: 0x1010n, physical: 0x5010 };
  const compile = (machine: FakeMachine) => {
    const { compilerObserver } = machine.options;
    const name = compilerObserver?.nameOf?.(place.linear) ?? 'none';
    compilerObserver?.onEvent?.({ kind: 'region', place, name, module: 1, handler: 2, entries: 3, blocks: 4, steps: 5, bytes: 6 });
    machine.end({ kind: 'poweroff' });
  };
  const boot = async (...args: string[]) => {
    const kernel = join(directory, 'kernel');
    writeFileSync(kernel, 'K');
    let machine: FakeMachine | undefined;
    const { host, errors } = testHost(directory, (started) => compile((machine = started)));
    return { status: await main(host, ['boot', '--kernel', kernel, ...args]), errors: errors.text, machine };
  };

  test('--jit-log writes what it does, with names from --symbols', async () => {
    const [log, map] = [join(directory, 'jit.log'), join(directory, 'System.map')];
    writeFileSync(map, '0000000000001000 T start\n0000000000002000 T end\n');
    expect((await boot('--jit-log', log, '--symbols', map)).status).toBe(0);
    expect(readFileSync(log, 'utf8')).toMatch(/^region 1010 physical 5010 .* start\+0x10\n$/);
  });

  test('nobody watches unless asked', async () => {
    expect((await boot()).machine!.options.compilerObserver).toBeUndefined();
  });

  test('a symbol file that is missing is named, and an interpreter cannot be watched', async () => {
    expect(await boot('--symbols', '/nowhere/map')).toMatchObject({ status: 1, errors: expect.stringContaining('/nowhere/map') });
    expect((await boot('--jit-log', join(directory, 'no.log'), '--accel', 'interpreter')).status).toBe(2);
  });
});

describe('try debian', () => {
  let archive: FakeArchive;
  let mirror: string;

  beforeAll(async () => {
    archive = new FakeArchive(await makeSigner());
    await archive.publish();
    mirror = await archive.listen();
  });

  afterAll(() => archive.close());

  const run = async (script: (machine: FakeMachine) => void, ...args: string[]) => {
    let machine: FakeMachine | undefined;
    const test = testHost(
      directory,
      (started) => {
        machine = started;
        script(started);
      },
      archive.signer.publicKey.armor(),
    );
    const status = await main(test.host, ['try', 'debian', '--mirror', mirror, ...args]);
    return { ...test, status, machine };
  };
  const exit = (status: number) => (machine: FakeMachine) => {
    machine.options.control!('started');
    machine.options.control!(`exit ${status}`);
    machine.end({ kind: 'poweroff' });
  };

  test('gives the machine the kernel, the userland and what to do in this run', async () => {
    const { status, machine, errors } = await run(exit(0), '--memory', '1G', '--append', 'debug', '--', 'echo', 'a b');
    expect(status).toBe(0);
    const { kernel, initrds, commandLine, memoryBytes, console } = machine!.options;
    expect(new TextDecoder().decode(kernel)).toBe('a kernel');
    expect(new TextDecoder('latin1').decode(initrds[0])).toContain('#!/usr/bin/perl');
    expect(new TextDecoder().decode(initrds[1])).toContain('echo\0a b\0');
    expect(commandLine).toMatch(/console=hvc0 .* debug$/);
    expect([memoryBytes, console]).toEqual([2 ** 30, 'virtio']);
    expect(errors.text).toContain('packages: ');
  });

  test('only the guest’s output is on standard output', async () => {
    const { terminal } = await run(
      (machine) => {
        machine.print('output\n');
        exit(0)(machine);
      },
      ...['--', 'x'],
    );
    expect(terminal.output).toBe('output\n');
  });

  test('exits with the status of what ran', async () => {
    expect((await run(exit(7), '--', 'x')).status).toBe(7);
    expect((await run(exit(3))).status).toBe(3);
  });

  test('a guest that ends without a status is our failure: 125 with a command, else 1', async () => {
    const vanish = (machine: FakeMachine) => machine.end({ kind: 'reset' });
    expect((await run(vanish, '--', 'x')).status).toBe(125);
    const { status, errors } = await run(vanish);
    expect(status).toBe(1);
    expect(errors.text).toContain('without telling how its shell ended');
  });

  test('a status that is none is not believed', async () => {
    const lie = (machine: FakeMachine) => {
      for (const line of ['exit 4242', 'exit -1', 'exit 0x1', ' exit 0', '']) machine.options.control!(line);
      machine.end({ kind: 'poweroff' });
    };
    expect((await run(lie, '--', 'x')).status).toBe(125);
  });

  test('a failure of the machine itself is told: 125 with a command', async () => {
    const fail = (machine: FakeMachine) => machine.end({ kind: 'failed', error: new VmError('host-io', 'out of memory') });
    const { status, errors } = await run(fail, '--', 'x');
    expect(status).toBe(125);
    expect(errors.text).toContain('daybreak: out of memory');
  });

  test('output that nobody reads any more ends it like SIGPIPE', async () => {
    const host: { terminal?: FakeTerminal } = {};
    const { status } = await (async () => {
      const test = testHost(directory, () => host.terminal!.closeOutput(), archive.signer.publicKey.armor());
      host.terminal = test.terminal;
      return { status: await main(test.host, ['try', 'debian', '--mirror', mirror, '--', 'yes']) };
    })();
    expect(status).toBe(141);
  });

  test('a signal stops the machine and gives 128 and its number', async () => {
    const test = testHost(directory, () => test.abort.abort('SIGTERM'), archive.signer.publicKey.armor());
    expect(await main(test.host, ['try', 'debian', '--mirror', mirror])).toBe(143);
  });

  test('a mirror whose signature is not Debian’s gives 1, or 125 when there is a command', async () => {
    const { host, errors } = testHost(directory);
    expect(await main(host, ['try', 'debian', '--mirror', mirror])).toBe(1);
    expect(errors.text).toContain('no signature by a key of Debian');
    expect(await main(host, ['try', 'debian', '--mirror', mirror, '--', 'true'])).toBe(125);
  });
});
