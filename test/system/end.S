/* The reset vector, at the end of the ROM. */
        .org 0xfff0
        .code16
        ljmp $0xf000, $(boot - start)
        .org 0x10000
