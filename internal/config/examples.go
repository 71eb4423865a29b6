package config

import _ "embed" // examples are files, so that they can be tried

// What the references begin with. A test has both of them checked.
var (
	//go:embed example.sh
	settingsExample string
	//go:embed example.yaml
	routesExample string
)

// block is a piece of Markdown whose marker says what it is for.
func block(marker, language, code string) string {
	return "<!-- " + marker + " -->\n```" + language + "\n" + code + "```\n"
}

const combining = `
## How rules combine

The lists of ` + "`access`" + ` are alternatives: who meets one of them is let in, and one value of a list meets it. The lists of ` + "`all`" + ` are conditions: each has to be met as
well. Those of ` + "`none`" + ` are exceptions, and what is not known (groups that the provider left out, an e-mail address that is not verified) counts as met there.

| access | lets in |
|---|---|
| nothing | whoever is signed in, or has a token for the proxy |
| ` + "`{groups: [a, b]}`" + ` | members of a, members of b |
| ` + "`{groups: [a], emails: [ann@example.com]}`" + ` | members of a, and Ann, a member or not |
| ` + "`{groups: [a], all: {domains: [example.com]}}`" + ` | members of a whose address is of example.com |
| ` + "`{all: {groups: [a], roles: [r]}}`" + ` | members of a who have the role r too |
| ` + "`{groups: [a], none: {groups: [b]}}`" + ` | members of a who are certainly no members of b |
| ` + "`{scopes: [call]}`" + ` | bearer tokens with that scope: who signed in with a browser has none |
`
