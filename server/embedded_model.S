/* The demo model's bytes, aligned so that tensors can be read in place. */
        .section .rodata
        .global qwend_demo_begin
        .global qwend_demo_end
        .balign 64
qwend_demo_begin:
        .incbin QWEND_DEMO_MODEL
qwend_demo_end:
        .byte 0
        .section .note.GNU-stack,"",%progbits
