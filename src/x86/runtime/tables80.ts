/**
 * Constants of transcendental80.ts: numbers of 128 bits, each as the significand's upper and lower half (the leading one
 * included) and the exponent, all positive.
 */

/** 1/n! from n = 0. */
export const INVERSE_FACTORIALS = memory.data<u64>([
  0x8000000000000000,
  0x0000000000000000,
  0, // 1/0!
  0x8000000000000000,
  0x0000000000000000,
  0, // 1/1!
  0x8000000000000000,
  0x0000000000000000,
  -1, // 1/2!
  0xaaaaaaaaaaaaaaaa,
  0xaaaaaaaaaaaaaaab,
  -3, // 1/3!
  0xaaaaaaaaaaaaaaaa,
  0xaaaaaaaaaaaaaaab,
  -5, // 1/4!
  0x8888888888888888,
  0x8888888888888889,
  -7, // 1/5!
  0xb60b60b60b60b60b,
  0x60b60b60b60b60b6,
  -10, // 1/6!
  0xd00d00d00d00d00d,
  0x00d00d00d00d00d0,
  -13, // 1/7!
  0xd00d00d00d00d00d,
  0x00d00d00d00d00d0,
  -16, // 1/8!
  0xb8ef1d2ab6399c7d,
  0x560e4472800b8ef2,
  -19, // 1/9!
  0x93f27dbbc4fae397,
  0x780b69f5333c725b,
  -22, // 1/10!
  0xd7322b3faa271c7f,
  0x3a3f25c1bee38f10,
  -26, // 1/11!
  0x8f76c77fc6c4bdaa,
  0x26d4c3d67f425f60,
  -29, // 1/12!
  0xb092309d43684be5,
  0x1c198e91d7b4269e,
  -33, // 1/13!
  0xc9cba54603e4e905,
  0xd6f8a2efd1f27546,
  -37, // 1/14!
  0xd73f9f399dc0f88e,
  0xc32b58774657f48f,
  -41, // 1/15!
  0xd73f9f399dc0f88e,
  0xc32b58774657f48f,
  -45, // 1/16!
  0xca963b81856a5359,
  0x3028cbbb8d7ff53c,
  -49, // 1/17!
  0xb413c31dcbecbbdd,
  0x8024435161554bc3,
  -53, // 1/18!
  0x97a4da340a0ab926,
  0x50f61dbdcb3a5abf,
  -57, // 1/19!
  0xf2a15d201011283d,
  0x4e5695fc785d5dff,
  -62, // 1/20!
  0xb8dc77b6e7ab8c5f,
  0x78a37e77372290c2,
  -66, // 1/21!
  0x8671cb6dbfc294a2,
  0x86485bf99c763abc,
  -70, // 1/22!
  0xbb0da098b1c0cecb,
  0xdc3826ebfb13cc27,
  -75, // 1/23!
  0xf96780cb97abbe65,
  0x25a033e54ec51034,
  -80, // 1/24!
  0x9f9e66e8b2fd46a7,
  0x22520cbbb7885c4a,
  -84, // 1/25!
  0xc4742fe35272cd1c,
  0x790285d3580a4a34,
  -89, // 1/26!
  0xe8d58e16e6751905,
  0x4d0c78aea13b9a50,
  -94, // 1/27!
  0x850c5131a842e9b9,
  0xe2e28e1aa546a152,
  -98, // 1/28!
  0x92cfcc5a1ac56bd5,
  0xf1873bb378948eb3,
  -103, // 1/29!
  0x9c9962823eb07306,
  0x56f6a614c4e2ba59,
  -108, // 1/30!
  0xa1a6973c1fade217,
  0x0f7237d35fe1c89e,
  -113, // 1/31!
  0xa1a6973c1fade217,
  0x0f7237d35fe1c89e,
  -118, // 1/32!
]);

/** 1/(2n + 1) from n = 0. */
export const INVERSE_ODDS = memory.data<u64>([
  0x8000000000000000,
  0x0000000000000000,
  0, // 1/1
  0xaaaaaaaaaaaaaaaa,
  0xaaaaaaaaaaaaaaab,
  -2, // 1/3
  0xcccccccccccccccc,
  0xcccccccccccccccd,
  -3, // 1/5
  0x9249249249249249,
  0x2492492492492492,
  -3, // 1/7
  0xe38e38e38e38e38e,
  0x38e38e38e38e38e4,
  -4, // 1/9
  0xba2e8ba2e8ba2e8b,
  0xa2e8ba2e8ba2e8ba,
  -4, // 1/11
  0x9d89d89d89d89d89,
  0xd89d89d89d89d89e,
  -4, // 1/13
  0x8888888888888888,
  0x8888888888888889,
  -4, // 1/15
  0xf0f0f0f0f0f0f0f0,
  0xf0f0f0f0f0f0f0f1,
  -5, // 1/17
  0xd79435e50d79435e,
  0x50d79435e50d7943,
  -5, // 1/19
  0xc30c30c30c30c30c,
  0x30c30c30c30c30c3,
  -5, // 1/21
  0xb21642c8590b2164,
  0x2c8590b21642c859,
  -5, // 1/23
  0xa3d70a3d70a3d70a,
  0x3d70a3d70a3d70a4,
  -5, // 1/25
  0x97b425ed097b425e,
  0xd097b425ed097b42,
  -5, // 1/27
  0x8d3dcb08d3dcb08d,
  0x3dcb08d3dcb08d3e,
  -5, // 1/29
  0x8421084210842108,
  0x4210842108421084,
  -5, // 1/31
  0xf83e0f83e0f83e0f,
  0x83e0f83e0f83e0f8,
  -6, // 1/33
  0xea0ea0ea0ea0ea0e,
  0xa0ea0ea0ea0ea0ea,
  -6, // 1/35
  0xdd67c8a60dd67c8a,
  0x60dd67c8a60dd67d,
  -6, // 1/37
  0xd20d20d20d20d20d,
  0x20d20d20d20d20d2,
  -6, // 1/39
  0xc7ce0c7ce0c7ce0c,
  0x7ce0c7ce0c7ce0c8,
  -6, // 1/41
  0xbe82fa0be82fa0be,
  0x82fa0be82fa0be83,
  -6, // 1/43
  0xb60b60b60b60b60b,
  0x60b60b60b60b60b6,
  -6, // 1/45
  0xae4c415c9882b931,
  0x0572620ae4c415ca,
  -6, // 1/47
]);

/** atan(n/8) from n = 1. */
export const ARCTANGENTS = memory.data<u64>([
  0xfeadd4d5617b6e32,
  0xc897989f3e888ef8,
  -4, // atan(1/8)
  0xfadbafc96406eb15,
  0x6dc79ef5f7a217e6,
  -3, // atan(2/8)
  0xb7b0ca0f26f78473,
  0x8aa32122dcfe4483,
  -2, // atan(3/8)
  0xed63382b0dda7b45,
  0x6fe445ecbc3a8d03,
  -2, // atan(4/8)
  0x8f005d5ef7f59f9b,
  0x5c835e1665c43748,
  -1, // atan(5/8)
  0xa4bc7d1934f70924,
  0x19a87f2a457dac9f,
  -1, // atan(6/8)
  0xb8053e2bc2319e73,
  0xcb2da55210a4443d,
  -1, // atan(7/8)
  0xc90fdaa22168c234,
  0xc4c6628b80dc1cd1,
  -1, // atan(8/8)
]);

/** π, ln 2 and log2 e. */
export const CONSTANTS = memory.data<u64>([
  0xc90fdaa22168c234,
  0xc4c6628b80dc1cd1,
  1, // π
  0xb17217f7d1cf79ab,
  0xc9e3b39803f2f6af,
  -1, // ln 2
  0xb8aa3b295c17f0bb,
  0xbe87fed0691d3e89,
  0, // log2 e
]);
