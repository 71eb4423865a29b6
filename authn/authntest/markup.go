package authntest

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// document is what all pages have in common. Texts and attributes are escaped
// wherever they come from; what is raw is embedded in this package, and has to stay
// as it is, since the policy names it by its hash. A script may be empty.
func document(title, script string, content ...g.Node) g.Node {
	return h.Doctype(h.HTML(
		h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			h.TitleEl(g.Text(title)),
			h.Link(h.Rel("icon"), h.Href(icon)),
			h.StyleEl(g.Raw(styleCSS)),
		),
		h.Body(
			h.Main(h.H1(g.Text(title)), g.Group(content)),
			g.If(script != "", h.Script(g.Raw(script))),
		),
	))
}

func paragraph(text string) g.Node {
	if text == "" {
		return nil
	}
	return h.P(g.Text(text))
}

// form is the login form. The focus is on the first field that is still empty.
func (p page) form() g.Node {
	wrong := p.Mistake != ""
	return h.Form(
		h.Method("post"),
		g.If(wrong, h.P(h.Class("mistake"), h.ID("mistake"), h.Role("alert"), g.Text(p.Mistake))),
		h.Label(h.For("username"), g.Text("User name")),
		h.Input(
			h.ID("username"), h.Name("username"), h.Value(p.Username), h.AutoComplete("username"),
			g.Attr("autocapitalize", "none"), g.Attr("spellcheck", "false"), h.Required(),
			g.If(p.Username == "", h.AutoFocus()),
		),
		h.Label(h.For("password"), g.Text("Password")),
		h.Input(
			h.ID("password"), h.Name("password"), h.Type("password"), h.AutoComplete("current-password"), h.Required(),
			g.If(p.Username != "", h.AutoFocus()),
			g.If(wrong, g.Group{h.Aria("invalid", "true"), h.Aria("describedby", "mistake")}),
		),
		h.Button(g.Text("Sign in")),
	)
}

func notes(lines []string) g.Node {
	if len(lines) == 0 {
		return nil
	}
	return h.Ul(h.Class("notes"), g.Map(lines, func(line string) g.Node { return h.Li(g.Text(line)) }))
}
