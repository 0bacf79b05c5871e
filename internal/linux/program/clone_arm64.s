#include "textflag.h"

// func cloneRun(args *cloneArgs, size uintptr, c *child) (pid uintptr)
// The kernel keeps R19 over the system call, so it carries c to the child.
TEXT ·cloneRun(SB), NOSPLIT|NOFRAME, $0-32
	MOVD	args+0(FP), R0
	MOVD	size+8(FP), R1
	MOVD	c+16(FP), R19
	MOVD	$435, R8 // clone3
	SVC
	CBZ	R0, child
	MOVD	R0, pid+24(FP)
	RET
child:
	// On the top of a new stack: room for a link register and one argument, and c kept above them.
	SUB	$32, RSP
	MOVD	R19, 8(RSP)
	MOVD	R19, 24(RSP)
	CALL	·runChild(SB)
	// It returned: go on in a second child, made by the arguments that c begins with.
	MOVD	24(RSP), R19
	MOVD	R19, R0
	MOVD	$88, R1
	MOVD	$435, R8 // clone3
	SVC
	CBZ	R0, child
	MOVD	R0, 88(R19)
	MOVD	$0, R0
	MOVD	$94, R8 // exit_group
	SVC
	BRK	$1
