#include "textflag.h"

// func cloneRun(args *cloneArgs, size uintptr, c *child) (pid uintptr)
// The kernel keeps R12 over the system call, so it carries c to the child.
TEXT ·cloneRun(SB), NOSPLIT, $0-32
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	c+16(FP), R12
	MOVQ	$435, AX // clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, pid+24(FP)
	RET
child:
	// On the top of a new stack: one argument, and c kept above it.
	ADJSP	$16
	MOVQ	R12, 0(SP)
	MOVQ	SP, BX
	MOVQ	R12, 8(BX)
	CALL	·runChild(SB)
	// It returned: go on in a second child, made by the arguments that c begins with.
	MOVQ	SP, BX
	MOVQ	8(BX), R12
	MOVQ	R12, DI
	MOVQ	$88, SI
	MOVQ	$435, AX // clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, 88(R12)
	XORL	DI, DI
	MOVQ	$231, AX // exit_group
	SYSCALL
	INT	$3
	ADJSP	$-16
	RET
