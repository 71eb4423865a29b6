// Package trained is what training hands to serving: a [Model] is a small
// feed-forward network together with where it came from and how good it is, in
// one JSON file that a person can read.
//
// Its arithmetic gives the same bits on every processor. The compiler may fuse
// a multiplication and an addition where the machine can (arm64, and amd64 with
// GOAMD64=v3), and that changes the last bit; every product here is therefore
// converted to float64 explicitly, which the language specification says
// prevents fusion. Nothing else than + - * / is used.
package trained
