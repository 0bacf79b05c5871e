package command

import "github.com/spf13/cobra"

// flagsFirst is the annotation of a verb whose flags end at its first word.
const flagsFirst = "flags-first"

// FlagsFirst makes the flags of cmd end at the first word that is none: what
// follows an image or a container is a command with flags of its own.
func FlagsFirst(cmd *cobra.Command) {
	cmd.Flags().SetInterspersed(false)
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[flagsFirst] = ""
}

// HasFlagsFirst reports whether FlagsFirst was called on cmd.
func HasFlagsFirst(cmd *cobra.Command) bool {
	_, ok := cmd.Annotations[flagsFirst]
	return ok
}
