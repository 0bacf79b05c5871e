package container

import "berth/internal/jsontext/fields"

// NetworkFields are the members of a Network, for documents that hold one.
func NetworkFields(c *fields.Codec, n *Network) {
	fields.Optional(c, "Bridge", &n.Bridge, fields.Text)
	fields.Optional(c, "SandboxID", &n.SandboxID, fields.Text)
	fields.OptionalMap(c, "Ports", &n.Ports, fields.ListOf(fields.Object(portBindingFields)))
	fields.OptionalMap(c, "Networks", &n.Networks, fields.Object(endpointFields))
}

func endpointFields(c *fields.Codec, e *Endpoint) {
	fields.Field(c, "NetworkID", &e.NetworkID, fields.Text)
	fields.Field(c, "EndpointID", &e.EndpointID, fields.Text)
	fields.Field(c, "Gateway", &e.Gateway, fields.Text)
	fields.Field(c, "IPAddress", &e.IPAddress, fields.Text)
	fields.Field(c, "IPPrefixLen", &e.IPPrefixLen, fields.Number)
	fields.Field(c, "MacAddress", &e.MacAddress, fields.Text)
}

// PortFields are the members of a Port, for documents that hold one.
func PortFields(c *fields.Codec, p *Port) {
	fields.Optional(c, "IP", &p.IP, fields.Text)
	fields.Field(c, "PrivatePort", &p.PrivatePort, fields.Number)
	fields.Optional(c, "PublicPort", &p.PublicPort, fields.Number)
	fields.Field(c, "Type", &p.Type, fields.Text)
}
