package proxy

import (
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// The icon is part of every page.
const icon = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%233257d5'/%3E%3Cpath d='M4 8h8M9 5l3 3-3 3' stroke='%23fff' stroke-width='1.6' fill='none'/%3E%3C/svg%3E"

// document is what all pages have in common. Texts and attributes are escaped
// wherever they come from; what is raw is embedded in this package, and has to stay
// as it is, since the policy names it by its hash. Every address is a path of ours,
// so that none has to be asked for its scheme.
func (p page) document(content g.Node) g.Node {
	return h.Doctype(h.HTML(
		h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			h.TitleEl(g.Text(p.title+" · amlproxy")),
			h.Link(h.Rel("icon"), h.Href(icon)),
			h.StyleEl(g.Raw(styleCSS)),
		),
		h.Body(
			h.A(h.Class("skip"), h.Href("#content"), g.Text("Skip to content")),
			h.Header(
				h.A(h.Class("home"), h.Href("/"), g.Text("amlproxy")),
				g.If(p.login && p.person != "", h.Nav(
					h.Aria("label", "Account"),
					h.Span(h.ID("person"), g.Text(p.person)), g.Text(" "),
					h.A(h.ID("sign-out"), h.Href("/oauth2/sign_out"), g.Text("Sign out")),
				)),
			),
			h.Main(h.ID("content"), content),
			g.If(p.script != "", h.Script(g.Raw(p.script))),
		),
	))
}

func (p page) signInCard() g.Node {
	if p.person != "" {
		return card(
			h.H1(g.Text("You are signed in as "+p.person)),
			h.P(g.Text("If that is not you, sign out first.")),
			actions(toModels("button"), h.A(h.Class("button quiet"), h.Href("/oauth2/sign_out"), g.Text("Sign out"))),
			h.Form(h.Class("actions"), h.Method("post"), h.Action("/oauth2/sign_out?everywhere=1"),
				h.Button(h.Class("button quiet"), h.ID("sign-out-everywhere"), g.Text("Sign out everywhere"))),
			small(g.Text("Everywhere is every browser in which you signed in here.")),
		)
	}
	return card(
		h.H1(g.Text(p.title)),
		h.P(g.If(p.signedOut, g.Text("Your session has ended. ")), g.Text("Sign in to call the models that are open to you.")),
		actions(p.toSignIn()),
	)
}

func (p page) refusalCard() g.Node {
	return card(
		h.P(h.Class("status"), g.Text(strconv.Itoa(p.status))),
		h.H1(g.Text(p.title)),
		h.P(g.Text(p.detail)),
		actions(g.If(p.signIn != "" && p.person == "", p.toSignIn()), toModels("button quiet")),
		small(g.Text("If you ask for help, give this request id: "), h.Code(h.ID("request-id"), g.Text(p.requestID))),
	)
}

func (p page) modelCards() g.Node {
	title := h.H1(g.Text(p.title))
	if len(p.models) == 0 {
		none := "No model is open to everyone."
		if p.person != "" {
			none = "No model is open to you yet. Ask whoever runs this proxy for access."
		}
		return g.Group{title, card(h.P(h.ID("no-models"), g.Text(none)))}
	}
	who := "Everyone"
	if p.person != "" {
		who = "You"
	}
	return g.Group{
		title,
		h.P(g.Text(who + " may call these models. Each form holds a sample: change it and send it.")),
		g.Map(p.models, modelCard),
		h.NoScript(h.P(g.Text("Sending from this page needs JavaScript. Any program can call the addresses above."))),
	}
}

// modelCard is what pages/models.js fills.
func modelCard(m listed) g.Node {
	return h.Section(
		h.Class("card model"), h.Data("model", m.Name), h.Data("path", m.Path), h.Aria("labelledby", "model-"+m.Name),
		h.H2(h.ID("model-"+m.Name), g.Text(m.Name)),
		small(h.Code(g.Text("POST "+m.Score))),
		h.Label(h.For("input-"+m.Name), g.Text("Request body (JSON)")),
		h.Textarea(h.Class("input"), h.ID("input-"+m.Name), h.Rows("4"),
			g.Attr("spellcheck", "false"), h.AutoComplete("off"), g.Attr("autocapitalize", "off")),
		actions(
			h.Button(h.Class("button send"), h.Type("button"), h.Disabled(), g.Text("Send")),
			h.Kbd(g.Text("Ctrl+Enter")),
			h.Span(h.Class("state"), h.Role("status")),
		),
		h.Figure(h.Class("answered"), g.Attr("hidden"),
			h.FigCaption(g.Text("Answer")),
			h.Pre(h.Class("answer"), h.TabIndex("0"), h.Aria("label", "Answer of "+m.Name))),
	)
}

func card(content ...g.Node) g.Node {
	return h.Section(h.Class("card narrow"), g.Group(content))
}

func small(content ...g.Node) g.Node {
	return h.P(h.Class("small"), g.Group(content))
}

// actions are in one line. The spaces are for browsers that do without the style.
func actions(all ...g.Node) g.Node {
	line := g.Group{h.Class("actions")}
	for _, action := range all {
		line = append(line, action, g.Text(" "))
	}
	return h.P(line)
}

func toModels(class string) g.Node {
	return h.A(h.Class(class), h.Href("/"), g.Text("Show the models"))
}

func (p page) toSignIn() g.Node {
	return h.A(h.Class("button"), h.ID("sign-in"), h.Href(p.signIn), g.Text("Sign in"))
}
