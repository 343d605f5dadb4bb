/** Ed25519 keys (RFC 8032), by the host's Web Crypto. */
import { fromHex, sha256, toHex } from '../../base/sha256.ts';
import { canonicalBytes } from './canonical-json.ts';

/** A public key as metadata has it. */
export interface PublicKey {
  readonly keytype: 'ed25519';
  readonly scheme: 'ed25519';
  readonly keyval: { readonly public: string };
}

export interface SigningKey {
  readonly id: string;
  readonly publicKey: PublicKey;
  /** PKCS #8, in hexadecimal: what a key file holds. */
  readonly secret: string;
  /** 64 bytes in hexadecimal. */
  sign(data: Uint8Array): Promise<string>;
}

/** A key's name follows from the key, so that one key never counts twice. */
export function keyId(key: PublicKey): Promise<string> {
  return sha256(canonicalBytes(key));
}

export async function generateKey(): Promise<SigningKey> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  const secret = toHex(new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey)));
  return loadKey(toHex(raw), secret);
}

/** Rejects when the secret is no key; whether the two belong together shows when a signature is verified. */
export async function loadKey(publicHex: string, secret: string): Promise<SigningKey> {
  const publicKey: PublicKey = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: publicHex } };
  const key = await crypto.subtle.importKey('pkcs8', fromHex(secret) as Uint8Array<ArrayBuffer>, 'Ed25519', false, ['sign']);
  return {
    id: await keyId(publicKey),
    publicKey,
    secret,
    sign: async (data) => toHex(new Uint8Array(await crypto.subtle.sign('Ed25519', key, data as Uint8Array<ArrayBuffer>))),
  };
}

/** Never rejects: what is no signature is no signature. */
export async function isSignedBy(key: PublicKey, signature: string, data: Uint8Array): Promise<boolean> {
  try {
    const raw = fromHex(key.keyval.public) as Uint8Array<ArrayBuffer>;
    const imported = await crypto.subtle.importKey('raw', raw, 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', imported, fromHex(signature) as Uint8Array<ArrayBuffer>, data as Uint8Array<ArrayBuffer>);
  } catch {
    return false;
  }
}
