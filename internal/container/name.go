package container

import (
	"math/rand/v2"
	"strings"

	"berth/internal/errdefs"
)

// maxName is what a directory entry can hold (NAME_MAX): a name is a file name in the store.
const maxName = 255

// CheckName returns an error unless name may name a container:
// [a-zA-Z0-9][a-zA-Z0-9_.-]+, so that it is a file name, a host name's
// beginning and no option of a command.
func CheckName(name string) error {
	if validName(name) {
		return nil
	}
	return errdefs.New(errdefs.InvalidArgument, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name).
		WithHint("use at least two and at most %d letters, digits, dots, dashes and underscores", maxName)
}

func validName(name string) bool {
	if len(name) < 2 || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return true
}

// RandomName returns a name of two words for a container whose user gave none.
// From the second attempt on, after a clash, digits make it longer.
func RandomName(attempt int) string {
	name := word(adjectives) + "_" + word(navigators)
	for range attempt {
		name += string(rune('0' + rand.IntN(10)))
	}
	return name
}

// word returns one of the words in a text. The lists are plain text, not
// slices: they cost nothing until a name is wanted.
func word(list string) string {
	n := rand.IntN(strings.Count(list, " ") + 1)
	for ; n > 0; n-- {
		_, list, _ = strings.Cut(list, " ")
	}
	w, _, _ := strings.Cut(list, " ")
	return w
}

// adjectives and navigators make about 10,000 names.
const (
	adjectives = "able airy ample anchored aware balmy breezy brisk buoyant bright candid careful coastal constant crisp " +
		"daring deep distant driftless early earnest easterly even fabled fairwind far fast festive fluent foamy fresh frosty gallant genial " +
		"glassy golden grand handy hardy hazy homeward humble inland intrepid jaunty joyful keen kindly lasting leeward level light lively lofty " +
		"lucid lunar marine mellow merry mild misty moored nimble noble northern oaken open orderly patient placid plucky polar prompt proud " +
		"quiet rapid ready roaming robust rolling ruddy sailing salty seaworthy secure silver sleek smooth snug sober solar sound southern " +
		"spry stalwart starry steady still stout sturdy sunlit sunny swift tidal tidy timely tranquil trim true unhurried upright vivid wakeful " +
		"wandering warm watchful western westerly willing windward winged wise zesty"
	navigators = "amundsen andree baffin barents bering bligh bougainville cabot cabral cano cartier cavendish chancellor cheng " +
		"columbus conti cook cousteau dampier davis dias dirkhartog drake dumont erikson faxian fitzroy flinders foxe franklin frobisher fuca " +
		"gama gerlache gilbert gosnold greely hanno harrison hasselblad hawkins hearne hudson janszoon jourdain kotzebue krusenstern laperouse " +
		"lasalle lazarev leif linschoten lisiansky magellan malaspina mackenzie maury mercator mcclure munk nansen narborough nearchus nordenskiold " +
		"orellana ortelius palliser parry peary pinzon polo ponce powell pytheas quiros raleigh rasmussen ross sarychev scoresby " +
		"scott selkirk shackleton slocum speke sverdrup tasman torres tupaia urdaneta vancouver verrazzano vespucci vizcaino waghenaer weddell " +
		"wallis wilkes willoughby worsley zarco zheng"
)
