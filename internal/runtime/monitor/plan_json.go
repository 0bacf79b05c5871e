package monitor

import (
	"berth/internal/container"
	"berth/internal/jsontext/fields"
)

// planFields are the members of a Plan. What is zero is not sent.
func planFields(c *fields.Codec, p *Plan) {
	fields.Optional(c, "ID", &p.ID, fields.Text)
	fields.Optional(c, "DataRoot", &p.DataRoot, fields.Text)
	fields.Optional(c, "StateRoot", &p.StateRoot, fields.Text)
	fields.Optional(c, "Socket", &p.Socket, fields.Text)
	fields.Optional(c, "ExecOnly", &p.ExecOnly, fields.Bool)
	fields.Optional(c, "CloneFlags", &p.CloneFlags, fields.Unsigned)
	fields.Optional(c, "OwnMemory", &p.OwnMemory, fields.Bool)
	fields.Optional(c, "ProgramFDs", &p.ProgramFDs, fields.Number)
	fields.Optional(c, "PIDNS", &p.PIDNS, fields.Number)
	fields.Optional(c, "Cgroup", &p.Cgroup, fields.Number)
	fields.Optional(c, "StdinW", &p.StdinW, fields.Number)
	fields.Optional(c, "StdoutR", &p.StdoutR, fields.Number)
	fields.Optional(c, "StderrR", &p.StderrR, fields.Number)
	fields.Optional(c, "TermSocket", &p.TermSocket, fields.Number)
	fields.Optional(c, "Rows", &p.Rows, fields.Number)
	fields.Optional(c, "Cols", &p.Cols, fields.Number)
	fields.Optional(c, "Attach", &p.Attach, fields.Number)
	fields.Optional(c, "StdinOnce", &p.StdinOnce, fields.Bool)
	fields.Optional(c, "Lease", &p.Lease, fields.Number)
	fields.Optional(c, "LogDriver", &p.LogDriver, fields.Text)
	fields.Optional(c, "LogPath", &p.LogPath, fields.Text)
	fields.OptionalMap(c, "LogOptions", &p.LogOptions, fields.Text)
	fields.Optional(c, "AutoRemove", &p.AutoRemove, fields.Bool)
	fields.Optional(c, "SharesPIDNS", &p.SharesPIDNS, fields.Bool)
	fields.Optional(c, "CgroupParent", &p.CgroupParent, fields.Text)
	fields.Optional(c, "RestartName", &p.RestartName, fields.Text)
	fields.Optional(c, "RestartMax", &p.RestartMax, fields.Number)
	fields.Field(c, "Network", &p.Network, fields.Object(container.NetworkFields))
	fields.OptionalList(c, "Published", &p.Published, fields.Object(container.PortFields))
	fields.Optional(c, "Restarts", &p.Restarts, fields.Number)
}
