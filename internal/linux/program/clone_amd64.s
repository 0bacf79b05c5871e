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
	// On the top of the new stack: one argument, then never back.
	ADJSP	$16
	MOVQ	R12, 0(SP)
	CALL	·runChild(SB)
	INT	$3
	ADJSP	$-16
	RET
