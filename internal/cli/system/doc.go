// Package system provides the verbs that concern berth and its host as a whole,
// and inspect, which finds any kind of object by its name.
package system
