#!/usr/bin/env perl
# Plays a person at the ranking page: waits for the link that `trivium rank --web` prints, ranks whatever the page is given as a
# judge's program says, and presses Ctrl-C when nothing is left.
#
# usage: tests/by_hand/person.pl --log FILE --judge CMD --root DIR
#   --log FILE    where the command's output goes
#   --judge CMD   speaks the judge protocol of docs/ranking.md
#   --root DIR    the root directory of the command's process, which is told by it
#
# Promise: exit code 0 only where every item was ranked; prints how many.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../samples/quickstart";
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use Sample;

my %option = options(log => undef, judge => undef, root => undef);
my $json = JSON::PP->new->utf8->canonical;
my ($patience, $quiet) = (1400, 0.2); # seconds in all, between looks

sub wait_for_link {
    for (my $waited = 0; $waited < $patience; $waited += $quiet) {
        if (open my $log, '<', $option{log}) {
            while (<$log>) { return ($1, $2) if m{^rank at (http://127\.0\.0\.1:\d+/)#(\w+)}; }
        }
        select undef, undef, undef, $quiet;
    }
    fail("no link of the ranking page in $option{log} within $patience s");
}

my ($url, $secret) = wait_for_link();
my $http = HTTP::Tiny->new(timeout => 60);

sub call {
    my ($name, %body) = @_;
    my $answer = $http->post("${url}api/$name", {
        headers => {'Content-Type' => 'application/json', 'X-Trivium-Link' => $secret},
        content => $json->encode({annotator => 'pat', %body}),
    });
    fail("$name: $answer->{status} $answer->{content}") if !$answer->{success};
    return $json->decode($answer->{content});
}

my $page = $http->get($url);
fail("the page: $page->{status}") if !$page->{success} || $page->{content} !~ /<html/i;
my $judge = open2(my $from_judge, my $to_judge, $option{judge});
select((select($to_judge), $| = 1)[0]);
call('start');
my ($ranked, $shown) = (0, call('next'));
while (my $item = $shown->{item}) {
    my $texts = $item->{texts};
    print $to_judge $json->encode({id => $item->{id}, prompt => $item->{prompt},
        responses => [map { {id => "$_", text => $texts->[$_]} } 0 .. $#$texts]}), "\n";
    my $answer = $json->decode(scalar(<$from_judge>) // fail('the judge ended'));
    my @places = map { [map { $_ + 0 } @$_] } @{$answer->{ranking}};
    $shown = call('judge', presentation => $item->{presentation}, t_shown => $item->{t_shown}, ranking => \@places);
    $ranked++;
}
my ($done, $total) = @{$shown->{progress}}{qw(done total)};
fail("$done of $total items were ranked") if !$ranked || $done != $total;

my ($ranker) = grep {
    my $command = do { local $/; open my $file, '<', "$_/cmdline" or next; <$file> } // '';
    $command =~ /trivium\0rank\0/ && (readlink("$_/root") // '') eq $option{root};
} glob '/proc/[0-9]*';
fail('the ranker is gone') if !$ranker;
kill 'INT', $ranker =~ /(\d+)$/;
print "$ranked items ranked\n";
