// Package ps lays out processes as ps(1) does, without running ps.
//
// The processes of a container are processes of the host: /proc has a folder
// for each, with the host's process ids. "top" shows them with the options of
// ps. Running the host's ps and filtering what it prints would cost a program
// start and a walk over every process of the machine; running the container's
// ps would run a program that the container chose. So the few files that are
// needed are read here, for exactly the processes of the container's group.
//
// What /proc says about a process was partly chosen by that process: its name
// and arguments may hold control characters that a terminal would obey. They
// are shown as "?", as ps does.
//
// Known are the usual formats (-ef, -e, -F, -l, -j, aux, ax, u, l, j) and -o
// with most of ps's columns. What picks or sorts processes is refused: the
// container has picked them.
package ps
