// Package archtest provides tests, and nothing else: that the arrows between
// packages point down, that every package says what it is for, that unsafe
// code stays in its files, and that the lean binary stays lean.
package archtest
