package dockerfile

import "strings"

// advice returns the next step for what the library refuses without a guess
// of its own; "" if there is none.
func advice(text string) string {
	for _, a := range [...]struct{ part, hint string }{
		{"unknown instruction", "an instruction is one of ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR; did the line before miss a \\ at its end?"},
		{"no build stage in current context", "only ARG may stand before the first FROM"},
		{"file with no instructions", "a Dockerfile begins with FROM, as in: FROM debian:12"},
		{"FROM requires either one or three", "write FROM image or FROM image AS name"},
		{"invalid name for build stage", "a stage's name begins with a letter and has letters, digits, - _ and ."},

		{"unterminated heredoc", "end it by a line that is nothing but the word after <<"},
		{"heredoc as a destination", "write the destination last: COPY <<EOF /path"},
		{"Destination could not be determined", "write the sources, then the destination: COPY file /path/"},
		{"max allowed size", "divide the line by \\ at its end, or put the text into a file and COPY it"},

		{"unknown flag", "options stand before the first argument and are written --name=value"},
		{"missing a value on flag", "write --name=value"},
		{"duplicate flag", "say it once"},
		{"expecting boolean value", "write true or false"},
		{"arg should start with --", "options are written --name=value"},

		{"to be in JSON form", `write it as SHELL ["/bin/bash", "-c"]`},
		{"SHELL requires at least one", `write it as SHELL ["/bin/bash", "-c"]`},
		{"arrays must be comprised of strings only", `write every element in double quotes: ["a", "b"]`},
		{"must have two arguments", "write NAME=value"},
		{"an't find = in", "write NAME=value, with quotes around a value that has blanks"},
		{"names can not be blank", "write NAME=value"},
		{"requires exactly one argument", "put quotes around an argument that has blanks"},
		{"requires at least one argument", "write what it is about behind it, or remove the line"},

		{"missing '}'", "close ${ by }"},
		{"bad substitution", "write ${NAME}, or \\$ for the sign itself"},
		{"in substitution", "what may follow a name is :- - :+ + :? ? # ## % %% / and //"},
		{"single-quote", "close the quote, or write \\ before it"},
		{"double-quote", "close the quote, or write \\ before it"},
		{"doesn't support variable expansion", "name a stage by FROM with an ARG, and use the stage's name: ARG V, FROM image:$V AS tools"},

		{"as an ONBUILD trigger", "ONBUILD takes every instruction but FROM, MAINTAINER and ONBUILD"},
		{"Chaining ONBUILD", "ONBUILD takes every instruction but FROM, MAINTAINER and ONBUILD"},

		{"HEALTHCHECK", "write HEALTHCHECK CMD command or HEALTHCHECK NONE"},
		{"in duration", "a time is a number and a unit: 500ms, 30s, 1m30s"},
		{"cannot be less than", "give a longer time, or none for the default"},
		{"--retries", "give a number above zero, or none for the default"},

		{"invalid network mode", "--network is default, none or host"},
		{"security", "--security is sandbox or insecure"},
		{"secret mount should not have a from", "a secret comes from --secret of the command line; name it by id="},
		{"secret mount should not define sharing", "sharing is for type=cache"},
		{"invalid secret mount", "write --mount=type=secret,id=NAME"},
		{"both source and id", "they are the same; write id=NAME"},
		{"must be a key=value pair", "write key=value, divided by commas"},
		{"cache sharing", "sharing is for type=cache"},
		{"type mounts", "mode, uid and gid are for type=cache, secret and ssh"},
		{"unexpected key 'size'", "size is for type=tmpfs"},
		{"unexpected key 'required'", "required is for type=secret and ssh"},
		{"unexpected key", "--mount knows type, source, target, from, ro, rw, id, sharing, required, size, mode, uid, gid and env"},
		{"unsupported mount type", "type is bind, cache, tmpfs, secret or ssh"},
		{"unsupported sharing value", "sharing is shared, private or locked"},
		{"for mode", "write the mode in octal, as 0700"},
		{"for uid", "write the number of the user"},
		{"for gid", "write the number of the group"},
		{"for size", "write a number and a unit, as 64m"},
		{"invalid value for", "write true or false"},
		{"csv", `put double quotes around a value that has commas: --mount=type=bind,"target=/a,b"`},

		{"escape token", "write # escape=` or # escape=\\"},
		{"parser directive can be used", "remove one of the lines"},
		{"check option", "write # check=skip=RULE,RULE;error=true"},
	} {
		if strings.Contains(text, a.part) {
			return a.hint
		}
	}
	return ""
}
