package imagetest

import (
	"archive/tar"
	"os"

	"berth/internal/oci"
)

// applets are the programs that an image made by Busybox has; a test that needs
// more calls `busybox NAME`.
func applets() []string {
	return []string{
		"ash", "awk", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "du", "echo", "env", "false", "find", "free", "grep", "head", "hostname",
		"id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "more", "mount", "mv", "nc", "nslookup", "ping", "ps", "pwd", "rm", "rmdir", "sed", "seq", "sh",
		"sleep", "sort", "stat", "stty", "tail", "tar", "test", "top", "touch", "tr", "true", "tty", "umount", "uname", "vi", "wc", "wget", "which", "yes",
	}
}

// Busybox returns an image of five layers around the host's busybox, which must
// be statically linked (Debian: busybox-static). One layer deletes a file of an
// earlier one and makes a directory opaque, so that reading the image shows
// whether layers are stacked right: /etc/motd is gone, /srv holds "new" only.
func Busybox(names ...string) (Image, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return Image{}, err
	}
	bin := Layer{Dir("bin/"), {Name: "bin/busybox", Body: string(program), Mode: 0o755}}
	for _, a := range applets() {
		bin = append(bin, File{Name: "bin/" + a, Type: tar.TypeLink, Link: "bin/busybox", Mode: 0o755})
	}
	return Image{
		Names: names,
		Layers: []Layer{
			{
				Dir("./"), Dir("dev/"), Dir("etc/"), Dir("proc/"), Dir("root/"), Dir("srv/"), Dir("sys/"), Dir("var/"),
				{Name: "tmp/", Type: tar.TypeDir, Mode: 0o1777},
				{Name: "srv/old", Body: "old\n"},
				{Name: "etc/motd", Body: "old\n"},
				{Name: "etc/passwd", Body: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
				{Name: "etc/group", Body: "root:x:0:\nnogroup:x:65534:\n"},
				{Name: "etc/os-release", Body: "NAME=\"Busybox\"\nID=busybox\n"},
			},
			bin,
			{Symlink("usr/bin", "../bin"), {Name: "etc/hello", Body: "hello\n"}},
			{{Name: "etc/.wh.motd"}, {Name: "srv/.wh..wh..opq"}, {Name: "srv/new", Body: "new\n"}},
			{{Name: "home/user/", Type: tar.TypeDir, Mode: 0o700, UID: 1000, GID: 1000}, {Name: "home/user/file", Body: "mine\n", UID: 1000, GID: 1000}},
		},
		Config: oci.RunConfig{Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
	}, nil
}
