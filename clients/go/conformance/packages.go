package main

import (
	"context"
	"encoding/json"
	"iter"

	"google.golang.org/protobuf/proto"

	runwright "github.com/runwright/runwright/clients/go"
)

func (a arguments) packageOptions() []runwright.PackageOption {
	var options []runwright.PackageOption
	if a.Tag != "" {
		options = append(options, runwright.WithPackageTag(a.Tag))
	}
	if a.ExpectedPrevious != nil {
		options = append(options, runwright.WithExpectedPrevious(*a.ExpectedPrevious))
	}
	if a.RequestID != "" {
		options = append(options, runwright.WithRequestID(a.RequestID))
	}
	options = append(options, runwright.WithSidecars(a.sidecars()...))
	return options
}

func (a arguments) sidecars() [][]byte {
	var sidecars [][]byte
	for _, text := range a.Sidecars {
		sidecars = append(sidecars, []byte(text))
	}
	return sidecars
}

// packageName is a package that is named by a word.
func (a arguments) packageName() (name string, err error) {
	if len(a.Package) > 0 {
		err = json.Unmarshal(a.Package, &name)
	}
	return name, err
}

func answered(message proto.Message, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return encode(message), nil
}

func all[M proto.Message](name string, items iter.Seq2[M, error]) (any, error) {
	found := []json.RawMessage{}
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		found = append(found, encode(item))
	}
	return object{name: found}, nil
}

func (p *program) putPackage(ctx context.Context, args arguments) (any, error) {
	return answered(p.connected().PutPackage(ctx, args.Document, args.packageOptions()...))
}

func (p *program) getPackage(ctx context.Context, args arguments) (any, error) {
	name, err := args.packageName()
	if err != nil {
		return nil, err
	}
	return answered(p.connected().GetPackage(ctx, name))
}

func (p *program) listPackages(ctx context.Context, args arguments) (any, error) {
	return all("packages", p.connected().ListPackages(ctx, args.PackageID))
}

func (p *program) tagPackage(ctx context.Context, args arguments) (any, error) {
	return answered(p.connected().TagPackage(ctx, args.Tag, args.Fingerprint, args.packageOptions()...))
}

func (p *program) tagHistory(ctx context.Context, args arguments) (any, error) {
	return all("moves", p.connected().TagHistory(ctx, args.Tag))
}

func (p *program) validatePackage(ctx context.Context, args arguments) (any, error) {
	return answered(p.connected().ValidatePackage(ctx, args.Document, args.sidecars()...))
}

func (p *program) resolvePackage(ctx context.Context, args arguments) (any, error) {
	name, err := args.packageName()
	if err != nil {
		return nil, err
	}
	budget, err := decode(args.Budget, &runwright.Budget{})
	if err != nil {
		return nil, err
	}
	return answered(p.connected().ResolvePackage(ctx, name, budget))
}

func (p *program) packageFingerprint(_ context.Context, args arguments) (any, error) {
	fingerprint, err := runwright.PackageFingerprint([]byte(args.Document))
	return object{"fingerprint": fingerprint}, err
}
