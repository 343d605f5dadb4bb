/** Builds a WebAssembly binary. WebAssembly Core Specification 2.0, section 5.5. */
import { ByteWriter } from './bytes.ts';
import type { ValType } from './opcodes.ts';

export interface Signature {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A function by its index in the module's function index space. */
export interface FunctionRef {
  readonly index: number;
  readonly signature: Signature;
}

interface FunctionImport extends FunctionRef {
  readonly module: string;
  readonly name: string;
}

/** Imports first, then functions in order of definition; every function index is known before its body is. */
/** What 32-bit addresses reach, in pages of 64 KiB. */
const MOST_PAGES = 65536;

export class ModuleBuilder {
  readonly #types: Signature[] = [];
  readonly #typeIndex = new Map<string, number>();
  readonly #imports: FunctionImport[] = [];
  readonly #functions: { type: number; body: Uint8Array | undefined; name: string }[] = [];
  readonly #exports: { name: string; kind: number; index: number }[] = [];
  #elements: readonly FunctionRef[] = [];
  #memory: { module: string; name: string; pages: number; shared: boolean } | undefined;

  type(signature: Signature): number {
    const key = `${signature.params.join()}>${signature.results.join()}`;
    let index = this.#typeIndex.get(key);
    if (index === undefined) {
      index = this.#types.push(signature) - 1;
      this.#typeIndex.set(key, index);
    }
    return index;
  }

  /** Imports the linear memory, of at least `pages`. */
  importMemory(module: string, name: string, pages: number, shared: boolean): void {
    this.#memory = { module, name, pages, shared };
  }

  importFunction(module: string, name: string, signature: Signature): FunctionRef {
    if (this.#functions.length > 0) throw new Error('bug: imports come before functions');
    this.type(signature);
    const ref = { module, name, signature, index: this.#imports.length };
    this.#imports.push(ref);
    return ref;
  }

  /** Declares a function whose body comes later, by `define`. Its name is for profilers. */
  declare(signature: Signature, name: string): FunctionRef {
    const position = this.#functions.push({ type: this.type(signature), body: undefined, name }) - 1;
    return { index: this.#imports.length + position, signature };
  }

  define(ref: FunctionRef, body: Uint8Array): void {
    this.#functions[ref.index - this.#imports.length]!.body = body;
  }

  exportFunction(name: string, ref: FunctionRef): void {
    this.#exports.push({ name, kind: 0, index: ref.index });
  }

  /** The module's own table, filled with these functions, exported as `table`. */
  table(elements: readonly FunctionRef[]): void {
    this.#elements = elements;
    this.#exports.push({ name: 'table', kind: 1, index: 0 });
  }

  build(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter();
    out.raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, write: (w: ByteWriter) => void): void => {
      const content = new ByteWriter();
      write(content);
      out.u8(id);
      out.sized(content);
    };
    section(1, (w) => {
      w.u32(this.#types.length);
      for (const { params, results } of this.#types) {
        w.u8(0x60);
        w.u32(params.length);
        for (const type of params) w.valtype(type);
        w.u32(results.length);
        for (const type of results) w.valtype(type);
      }
    });
    section(2, (w) => {
      w.u32(this.#imports.length + (this.#memory ? 1 : 0));
      for (const { module, name, signature } of this.#imports) {
        w.name(module);
        w.name(name);
        w.u8(0);
        w.u32(this.type(signature));
      }
      if (this.#memory) {
        w.name(this.#memory.module);
        w.name(this.#memory.name);
        w.u8(2);
        w.u8(this.#memory.shared ? 3 : 1);
        w.u32(this.#memory.pages);
        w.u32(MOST_PAGES);
      }
    });
    section(3, (w) => {
      w.u32(this.#functions.length);
      for (const { type } of this.#functions) w.u32(type);
    });
    if (this.#elements.length > 0) {
      section(4, (w) => {
        w.u32(1);
        w.u8(0x70);
        w.u8(0);
        w.u32(this.#elements.length);
      });
    }
    section(7, (w) => {
      w.u32(this.#exports.length);
      for (const { name, kind, index } of this.#exports) {
        w.name(name);
        w.u8(kind);
        w.u32(index);
      }
    });
    if (this.#elements.length > 0) {
      section(9, (w) => {
        w.u32(1);
        w.u8(0);
        w.u8(0x41);
        w.s32(0);
        w.u8(0x0b);
        w.u32(this.#elements.length);
        for (const { index } of this.#elements) w.u32(index);
      });
    }
    section(10, (w) => {
      w.u32(this.#functions.length);
      for (const { body } of this.#functions) {
        if (!body) throw new Error('bug: a declared function has no body');
        w.u32(body.length);
        w.raw(body);
      }
    });
    // Names of functions, for profilers: Core Specification, appendix on the name section.
    section(0, (w) => {
      w.name('name');
      const names = new ByteWriter();
      names.u32(this.#functions.length);
      this.#functions.forEach(({ name }, n) => {
        names.u32(this.#imports.length + n);
        names.name(name);
      });
      w.u8(1);
      w.sized(names);
    });
    return out.take() as Uint8Array<ArrayBuffer>;
  }
}
