package bootstrap

import (
	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// terminal makes the container's terminal and sends its master to the monitor.
func (c *compiler) terminal() {
	if !c.in.Spec.Process.Terminal {
		for i, f := range c.in.Stdio {
			if f != nil {
				c.b.Call("set up stdio", unix.SYS_DUP3, c.fd(f), program.Int(i), program.Int(0))
			}
		}
		return
	}
	master := c.openTerminal()
	slave := c.unlockTerminal(master)
	c.b.Call("give the terminal to the user", unix.SYS_FCHOWN, program.Result(slave), program.Int(c.in.ConsoleOwner), program.Int(int64(-1))).Ignore()
	console := c.cloneTree("mount /dev/console", program.Result(slave), "", false)
	c.b.Call("make /dev/console", unix.SYS_MKNODAT, program.Result(c.root), program.Str("dev/console"), program.Int(unix.S_IFREG|0o600), program.Int(0)).Tolerate(unix.EEXIST)
	at := c.openIn("mount /dev/console", c.root, "dev/console", unix.O_NOFOLLOW, noLinks).Save()
	c.attach("mount /dev/console", console, at)
	c.sendTerminal(master)
	c.takeTerminal(slave)
}

// openTerminal opens a new master in the container's devpts.
func (c *compiler) openTerminal() program.Reg {
	return c.b.Call("open the terminal", unix.SYS_OPENAT2, program.Result(c.root), program.Str("dev/pts/ptmx"),
		openHow(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, noLinks), program.Int(24)).Save()
}

// unlockTerminal opens the slave of a master by TIOCGPTPEER: by descriptor, not by a name in /dev/pts (CVE-2025-52565).
func (c *compiler) unlockTerminal(master program.Reg) (slave program.Reg) {
	var zero [8]byte
	c.b.Call("unlock the terminal", unix.SYS_IOCTL, program.Result(master), program.Int(unix.TIOCSPTLCK), program.Bytes(zero[:]))
	return c.b.Call("open the terminal's slave", unix.SYS_IOCTL, program.Result(master), program.Int(unix.TIOCGPTPEER), program.Int(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)).Save()
}

// sendTerminal passes the master to the monitor as SCM_RIGHTS (unix(7)).
func (c *compiler) sendTerminal(master program.Reg) {
	b := c.b
	control := b.Place(unix.UnixRights(0))
	b.Store(control+program.Offset(unix.CmsgLen(0)), master)
	payload := b.Place([]byte{0})
	iov := b.Place(make([]byte, 16))
	b.Point(iov, payload)
	b.Patch(iov+8, 1)
	msg := b.Place(make([]byte, 56)) // struct msghdr
	b.Point(msg+16, iov)
	b.Patch(msg+24, 1)
	b.Point(msg+32, control)
	b.Patch(msg+40, uint64(unix.CmsgSpace(4)))
	b.Call("send the terminal to the monitor", unix.SYS_SENDMSG, c.fd(c.in.TerminalSocket), program.At(msg), program.Int(unix.MSG_NOSIGNAL))
}

// takeTerminal makes the slave the controlling terminal and stdio.
func (c *compiler) takeTerminal(slave program.Reg) {
	c.b.Call("take the terminal", unix.SYS_IOCTL, program.Result(slave), program.Int(unix.TIOCSCTTY), program.Int(0))
	for i := range 3 {
		c.b.Call("set up stdio", unix.SYS_DUP3, program.Result(slave), program.Int(i), program.Int(0))
	}
}
